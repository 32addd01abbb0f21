//! The worker's transaction: repeated, refused, out of order. The test calls the handler as the consumer
//! would, on a real Redis and PostgreSQL.

use std::sync::Arc;

use rocketmart_contracts::event::{Payload as _, PaymentFailed, ProductChanged};
use rocketmart_contracts::topic;
use rocketmart_kit::kafka::{HandleError, Handler};
use rocketmart_stock::SaleId;
use serde_json::json;
use uuid::Uuid;

use crate::deliveries::{books, delivery, released, reserve, reserved, submitted, succeeded, worker};
use crate::shop::{MUG, Shop, eventually, product};

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_handled_again_after_its_commit_changes_nothing() {
    let shop = Shop::with_api_only().await;
    let sale = shop.open_sale(10).await;
    let order = reserve(&shop, sale).await;
    let batch = [reserved(sale, order, 1), submitted(sale, order), succeeded(order)];
    let worker = worker(&shop);
    worker.handle(&batch).await.unwrap();
    let once = books(&shop).await;
    assert_eq!(shop.backing.ledger().await, [10, 9, 0, 1]);
    assert_eq!(shop.backing.number("SELECT count(*) FROM outbox").await, 2);

    worker.handle(&batch).await.unwrap();
    worker.handle(&[batch[0].clone(), batch[0].clone(), batch[2].clone()]).await.unwrap();
    assert_eq!(books(&shop).await, once);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_twice_in_one_batch_counts_once() {
    let shop = Shop::with_api_only().await;
    let sale = shop.open_sale(10).await;
    let event = reserved(sale, Uuid::now_v7(), 1);
    worker(&shop).handle(&[event.clone(), event]).await.unwrap();
    assert_eq!(shop.backing.ledger().await, [10, 9, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_overtook_its_reservation_is_not_received_until_it_comes_in_order() {
    let shop = Shop::with_api_only().await;
    let sale = shop.open_sale(3).await;
    let order = Uuid::now_v7();
    let (reserved, released) = (reserved(sale, order, 1), released(sale, order));
    let worker = worker(&shop);
    worker.handle(std::slice::from_ref(&released)).await.unwrap();
    assert_eq!(shop.backing.number("SELECT count(*) FROM inbox").await, 0);
    worker.handle(&[reserved, released]).await.unwrap();
    assert_eq!(shop.backing.ledger().await, [3, 3, 0, 0]);
    assert_eq!(shop.backing.number("SELECT count(*) FROM inbox").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_poison() {
    let shop = Shop::with_api_only().await;
    let worker = worker(&shop);
    let garbage = delivery(topic::PAYMENTS, PaymentFailed::TYPE, Uuid::now_v7(), &json!({ "order_id": 7 }));
    let garbage = worker.handle(&[garbage]).await;
    assert!(matches!(garbage, Err(HandleError::Poison { index: 0, .. })), "{garbage:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_and_sql_agree_on_who_was_first_when_a_payment_fails_and_succeeds() {
    let shop = Shop::with_api_only().await;
    let sale = shop.open_sale(3).await;
    let order = reserve(&shop, sale).await;
    let failed = json!({ "payment_id": Uuid::now_v7(), "order_id": order, "reason": "declined" });
    let failed = delivery(topic::PAYMENTS, PaymentFailed::TYPE, order, &failed);
    let worker = worker(&shop);
    worker.handle(&[reserved(sale, order, 1)]).await.unwrap();
    worker.handle(&[failed, succeeded(order)]).await.unwrap();
    let counters = shop.backing.stock.counters(SaleId(sale)).await.unwrap().unwrap();
    let item = &counters.items[0];
    let in_redis = [item.preloaded, item.remaining, item.reserved, item.sold].map(i64::from);
    assert_eq!(shop.backing.ledger().await, in_redis);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_of_a_redis_that_was_lost_since_is_not_written_and_its_payment_is_booked_once() {
    let shop = Shop::with_api_only().await;
    let sale = shop.open_sale(3).await;
    let order = reserve(&shop, sale).await;
    let (one, other) = (Arc::new(worker(&shop)), worker(&shop));
    one.handle(&[reserved(sale, order, 1)]).await.unwrap();
    // Redis has confirmed, and the batch is about to be written. Then a rebuild of the sale begins.
    let mut rebuild = shop.backing.pool.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM sales FOR UPDATE").execute(&mut *rebuild).await.unwrap();
    let (payment, writer) = (succeeded(order), Arc::clone(&one));
    let batch = [payment.clone()];
    let writing = tokio::spawn(async move { writer.handle(&batch).await });
    eventually("Redis has confirmed it", async || {
        let counters = shop.backing.stock.counters(SaleId(sale)).await.unwrap().unwrap();
        counters.items[0].sold == 1
    })
    .await;
    sqlx::query("UPDATE sales SET incarnation = incarnation + 1, doubt = 'lost', doubted_at = now()")
        .execute(&mut *rebuild)
        .await
        .unwrap();
    rebuild.commit().await.unwrap();
    let written = writing.await.unwrap();
    assert!(matches!(written, Err(HandleError::Retry(_))), "{written:?}");
    assert_eq!(shop.backing.ledger().await, [3, 2, 1, 0], "nothing was sold");

    // The payment comes again and waits for the end of the doubt. Then one of two workers takes it.
    one.handle(&[payment]).await.unwrap();
    let (parked, paid) =
        ("SELECT count(*) FROM parked_payments", "SELECT count(*) FROM outbox WHERE type LIKE '%paid%'");
    one.book_deferred_payments().await.unwrap();
    assert_eq!((shop.backing.number(parked).await, shop.backing.number(paid).await), (1, 0));
    sqlx::query("UPDATE sales SET doubt = NULL").execute(&shop.backing.pool).await.unwrap();
    let (first, second) = tokio::join!(one.book_deferred_payments(), other.book_deferred_payments());
    first.and(second).unwrap();
    assert_eq!((shop.backing.number(parked).await, shop.backing.number(paid).await), (0, 1));
    assert_eq!(shop.backing.ledger().await, [3, 2, 0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_standing_stock_follows_the_seller_but_never_below_what_is_promised() {
    let shop = Shop::with_api_only().await;
    shop.open_sale(60).await;
    let worker = worker(&shop);
    let change = async |quantity, version| {
        let changed =
            delivery(topic::PRODUCTS, ProductChanged::TYPE, Uuid::nil(), &product(MUG, quantity, version));
        worker.handle(&[changed]).await.unwrap();
        shop.backing.standing().await
    };
    assert_eq!(change(120, 2).await, [120, 60]);
    assert_eq!(change(70, 1).await, [120, 60], "an older version changes nothing");
    assert_eq!(change(60, 3).await, [60, 60]);
    assert_eq!(change(59, 4).await, [60, 60], "all are promised");
    assert_eq!(shop.backing.number("SELECT surplus FROM skus").await, 1);
    assert_eq!(change(65, 5).await, [65, 60], "six more than the seller said last");
}
