//! SQL was restored from a backup, and the topics are read again. Reports about orders may come before the
//! orders themselves, and earlier reports come again.

use rocketmart_kit::kafka::Handler;
use uuid::Uuid;

use crate::deliveries::{preparing, reserve, reserved, submitted, succeeded, worker};
use crate::shop::Shop;

const PARKED: &str = "SELECT count(*) FROM parked_payments";
const PREPARING: &str = "SELECT count(*) FROM orders WHERE state = 'preparing'";

async fn doubt(shop: &Shop, sale: Uuid, doubted: bool) {
    sqlx::query(
        "UPDATE sales SET doubt = CASE WHEN $2 THEN 'Redis is empty' END, doubted_at = now() WHERE id = $1",
    )
    .bind(sale)
    .bind(doubted)
    .execute(&shop.backing.pool)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_an_order_before_it_is_known_waits_for_it() {
    let shop = Shop::with_api_only().await;
    let sale = shop.open_sale(3).await;
    let order = reserve(&shop, sale).await;
    let worker = worker(&shop);
    // The worker hears of the parcel before the payment, and of both before the order.
    worker.handle(&[preparing(order)]).await.unwrap();
    worker.handle(&[succeeded(order)]).await.unwrap();
    worker.book_deferred_payments().await.unwrap();
    assert_eq!(shop.backing.number(PARKED).await, 2);
    worker.handle(&[reserved(sale, order, 1), submitted(sale, order)]).await.unwrap();
    worker.book_deferred_payments().await.unwrap();
    assert_eq!((shop.backing.number(PARKED).await, shop.backing.number(PREPARING).await), (0, 1));
    assert_eq!(shop.backing.ledger().await, [3, 2, 0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parcel_waits_for_a_payment_that_nobody_has_heard_of() {
    let shop = Shop::with_api_only().await;
    let sale = shop.open_sale(3).await;
    let (early, late) = (reserve(&shop, sale).await, reserve(&shop, sale).await);
    let worker = worker(&shop);
    // It hears of one parcel before its order and of one after. The payments are still to be read.
    worker.handle(&[preparing(early)]).await.unwrap();
    for order in [early, late] {
        worker.handle(&[reserved(sale, order, 1), submitted(sale, order)]).await.unwrap();
    }
    worker.handle(&[preparing(late)]).await.unwrap();
    worker.book_deferred_payments().await.unwrap();
    assert_eq!((shop.backing.number(PARKED).await, shop.backing.number(PREPARING).await), (2, 0));
    worker.handle(&[succeeded(early), succeeded(late)]).await.unwrap();
    worker.book_deferred_payments().await.unwrap();
    assert_eq!((shop.backing.number(PARKED).await, shop.backing.number(PREPARING).await), (0, 2));
    assert_eq!(shop.backing.ledger().await, [3, 1, 0, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parcel_waits_for_the_payment_it_follows_while_redis_has_no_say() {
    let shop = Shop::with_api_only().await;
    let sale = shop.open_sale(3).await;
    let order = reserve(&shop, sale).await;
    let worker = worker(&shop);
    worker.handle(&[reserved(sale, order, 1), submitted(sale, order)]).await.unwrap();
    doubt(&shop, sale, true).await;
    worker.handle(&[preparing(order)]).await.unwrap();
    worker.handle(&[succeeded(order), preparing(order)]).await.unwrap();
    assert_eq!((shop.backing.number(PARKED).await, shop.backing.number(PREPARING).await), (3, 0));
    doubt(&shop, sale, false).await;
    worker.book_deferred_payments().await.unwrap();
    assert_eq!((shop.backing.number(PARKED).await, shop.backing.number(PREPARING).await), (0, 1));
    assert_eq!(shop.backing.ledger().await, [3, 2, 0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_handled_again_lead_to_the_same_events() {
    let shop = Shop::with_api_only().await;
    let sale = shop.open_sale(3).await;
    let order = reserve(&shop, sale).await;
    let batch = [reserved(sale, order, 1), submitted(sale, order), succeeded(order)];
    let worker = worker(&shop);
    let told = async || {
        worker.handle(&batch).await.unwrap();
        let ids: Vec<String> = sqlx::query_scalar("SELECT id FROM outbox ORDER BY position")
            .fetch_all(&shop.backing.pool)
            .await
            .unwrap();
        ids
    };
    let before = told().await;
    assert_eq!(before.len(), 2);
    // The state before the batch.
    sqlx::query("TRUNCATE orders, inbox, outbox, order_events, payments_seen CASCADE")
        .execute(&shop.backing.pool)
        .await
        .unwrap();
    sqlx::query("UPDATE sale_items SET remaining = 3, reserved = 0, sold = 0")
        .execute(&shop.backing.pool)
        .await
        .unwrap();
    assert_eq!(told().await, before);
}
