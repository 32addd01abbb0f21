//! The database was restored from a backup, and the provider knows more than it does.

use rocketmart_kit::event::Event;
use time::OffsetDateTime;

use crate::shop::{Order, Shop, a_while, eventually};

/// Removes everything since the backup: payments, and events received and sent.
async fn forget(shop: &Shop, orders: &[&Order]) {
    let orders: Vec<_> = orders.iter().map(|order| order.id).collect();
    sqlx::query("DELETE FROM payments WHERE order_id = ANY($1)")
        .bind(orders)
        .execute(&shop.pool)
        .await
        .unwrap();
    sqlx::query("TRUNCATE inbox, outbox").execute(&shop.pool).await.unwrap();
}

async fn restored(shop: &Shop) {
    sqlx::query("INSERT INTO restores DEFAULT VALUES").execute(&shop.pool).await.unwrap();
}

/// Waits until the success of its payment was announced this many times.
async fn told_times(shop: &Shop, order: &Order, times: usize) {
    eventually("the payment's success", async || {
        (shop.all_told("succeeded", order.id).len() == times).then_some(())
    })
    .await;
    assert_eq!(shop.state_of(order.id).await.as_deref(), Some("succeeded"));
    assert_eq!(shop.charges_of(order.id).await.len(), 1);
}

/// Orders whose payments a worker charged and announced before it stopped, and the events that asked for
/// them.
async fn charged(shop: &Shop, count: usize) -> (Vec<Order>, Vec<Event>) {
    let worker = shop.worker().await;
    let mut orders = Vec::new();
    for _ in 0..count {
        orders.push(Order::of(shop.buyer_paying_with("tok_1").await));
    }
    let asked: Vec<_> = orders.iter().map(Order::payment_requested).collect();
    shop.send(&asked).await;
    for order in &orders {
        told_times(shop, order, 1).await;
    }
    worker.stop().await;
    (orders, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_charged_since_the_backup_is_found_again_and_not_charged_twice() {
    let shop = Shop::open().await;
    let (orders, asked) = charged(&shop, 3).await;
    let [kept, without_method, released] = &orders[..] else { panic!("three orders") };
    forget(&shop, &[kept, without_method, released]).await;
    sqlx::query("DELETE FROM payment_methods WHERE member_id = $1")
        .bind(without_method.buyer)
        .execute(&shop.pool)
        .await
        .unwrap();
    restored(&shop).await;
    // The topic is read again, and one of the orders was released meanwhile.
    let _worker = shop.worker().await;
    shop.send(&asked).await;
    shop.send(&[released.released()]).await;
    for order in &orders {
        told_times(&shop, order, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_backup_may_have_been_charged_since() {
    let shop = Shop::open().await;
    let worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    told_times(&shop, &order, 1).await;
    worker.stop().await;

    // As in the backup; its deadline has passed since.
    sqlx::query(
        "UPDATE payments SET state = 'requested', capture = NULL, provider_authorization_id = NULL,
             provider_charge_id = NULL, charged_at = NULL, settled_at = NULL, due_at = now(), pay_by = now()",
    )
    .execute(&shop.pool)
    .await
    .unwrap();
    restored(&shop).await;
    let _worker = shop.worker().await;
    told_times(&shop, &order, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_has_not_seen_before_a_restore_fails_and_what_is_asked_for_afterwards_is_new() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let old = Order::of(uuid::Uuid::now_v7());
    let asked = old.payment_requested();
    restored(&shop).await;
    shop.send(&[asked]).await;
    assert_eq!(shop.told("failed", old.id).await["reason"], "deadline");
    let new = Order::of(uuid::Uuid::now_v7());
    shop.send(&[new.payment_requested()]).await;
    assert_eq!(shop.told("failed", new.id).await["reason"], "payment_method_unknown");
    a_while().await;
    assert!(shop.charges_of(old.id).await.is_empty() && shop.charges_of(new.id).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_request_that_is_told_again_after_a_restore_the_first_one_counts() {
    let shop = Shop::open().await;
    let (orders, asked) = charged(&shop, 40).await;
    forget(&shop, &orders.iter().collect::<Vec<_>>()).await;
    sqlx::query("DELETE FROM payment_methods").execute(&shop.pool).await.unwrap();
    restored(&shop).await;
    // The orders were restored too. They ask for their payments by the same events, which are newer.
    let now = OffsetDateTime::now_utc();
    let again = asked.iter().map(|event| Event { time: now, ..event.clone() });
    shop.send(&asked.iter().cloned().chain(again).collect::<Vec<_>>()).await;
    let _worker = shop.worker().await;
    for order in &orders {
        told_times(&shop, order, 2).await;
    }
}
