//! The worker's transaction: repeated, refused, out of order. The handler is called as the consumer
//! would call it, on a real Redis and PostgreSQL.

use std::sync::Arc;

use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::{Delivery, HandleError, Handler};
use rocketmart_order::events::{self, types};
use rocketmart_order::worker::Worker;
use rocketmart_stock::{BuyerId, Line, OrderId, Reserve, ReserveOutcome, SaleId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shop::{MUG, PRICE, Shop, eventually, product};

fn delivery(topic: &str, event_type: &str, key: Uuid, data: &Value) -> Delivery {
    let event = Event::new("/rocketmart/test", event_type, key, data);
    Delivery { topic: topic.to_owned(), partition: 0, offset: 0, event }
}

fn reserved(sale: Uuid, order: Uuid, quantity: i64) -> Delivery {
    let data = json!({
        "order_id": order, "sale_id": sale, "buyer_id": Uuid::now_v7(), "currency": "EUR",
        "lines": [{ "sku": MUG, "quantity": quantity, "unit_price": PRICE }], "amount": PRICE * quantity,
        "reserved_at_ms": 1_700_000_000_000_i64, "pay_by_ms": 1_700_000_060_000_i64,
    });
    delivery(events::RESERVATIONS, types::RESERVED, order, &data)
}

fn released(sale: Uuid, order: Uuid) -> Delivery {
    let data = json!({ "order_id": order, "sale_id": sale, "reason": "expired", "released_at_ms": 1_700_000_060_000_i64 });
    delivery(events::RESERVATIONS, types::RELEASED, order, &data)
}

fn succeeded(order: Uuid) -> Delivery {
    let data = json!({ "payment_id": Uuid::now_v7(), "order_id": order, "amount": PRICE, "currency": "EUR",
        "succeeded_at_ms": 1_700_000_030_000_i64 });
    delivery(events::PAYMENTS, types::PAYMENT_SUCCEEDED, order, &data)
}

fn worker(shop: &Shop) -> Worker {
    Worker::new(shop.backing.pool.clone(), shop.backing.stock.clone())
}

/// Reserves a mug in Redis without anybody telling SQL.
async fn reserve(shop: &Shop, sale: Uuid) -> Uuid {
    let order = Uuid::now_v7();
    let wish = Reserve {
        sale: SaleId(sale),
        order: OrderId(order),
        buyer: BuyerId(Uuid::now_v7()),
        lines: vec![Line::new(MUG, 1)],
        key: "k".into(),
        request_hash: "h".into(),
        traceparent: None,
    };
    let outcome = shop.backing.stock.reserve(SaleId(sale), &[wish]).await.unwrap();
    assert!(matches!(outcome[0], ReserveOutcome::Reserved(_)), "{outcome:?}");
    order
}

/// Everything the worker writes, in one text.
async fn books(shop: &Shop) -> String {
    let query = "SELECT concat_ws(' ',
        (SELECT string_agg(o::text, ';' ORDER BY id) FROM orders o),
        (SELECT string_agg(i::text, ';') FROM sale_items i), (SELECT string_agg(s::text, ';') FROM stock s),
        (SELECT count(*) FROM order_events), (SELECT count(*) FROM outbox), (SELECT count(*) FROM payments_seen))";
    sqlx::query_scalar(query).fetch_one(&shop.backing.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_handled_again_after_its_commit_changes_nothing() {
    let shop = Shop::with_api_only().await;
    let sale = shop.open_sale(10).await;
    let order = reserve(&shop, sale).await;
    let submitted =
        json!({ "order_id": order, "sale_id": sale, "buyer_id": Uuid::now_v7(), "submitted_at_ms": 1 });
    let batch = [
        reserved(sale, order, 1),
        delivery(events::RESERVATIONS, types::PAYMENT_SUBMITTED, order, &submitted),
        succeeded(order),
    ];
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
async fn the_ledger_refuses_to_oversell_even_if_redis_were_wrong() {
    let shop = Shop::with_api_only().await;
    let sale = shop.open_sale(3).await;
    let batch = [
        reserved(sale, Uuid::now_v7(), 2),
        reserved(sale, Uuid::now_v7(), 2),
        reserved(sale, Uuid::now_v7(), 1),
    ];
    let worker = worker(&shop);
    let refused = worker.handle(&batch).await;
    assert!(matches!(refused, Err(HandleError::Poison { index: 1, .. })), "{refused:?}");
    // The consumer parks that one and hands over the others again.
    worker.handle(&[batch[0].clone(), batch[2].clone()]).await.unwrap();
    assert_eq!(shop.backing.ledger().await, [3, 0, 3, 0]);
    assert_eq!(shop.backing.number("SELECT count(*) FROM orders").await, 2);
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
async fn a_payment_waits_for_its_order_and_garbage_is_poison() {
    let shop = Shop::with_api_only().await;
    let worker = worker(&shop);
    let early = worker.handle(&[succeeded(Uuid::now_v7())]).await;
    assert!(matches!(early, Err(HandleError::Retry(_))), "{early:?}");
    let garbage =
        delivery(events::PAYMENTS, types::PAYMENT_FAILED, Uuid::now_v7(), &json!({ "order_id": 7 }));
    let garbage = worker.handle(&[garbage]).await;
    assert!(matches!(garbage, Err(HandleError::Poison { index: 0, .. })), "{garbage:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_and_sql_agree_on_who_was_first_when_a_payment_fails_and_succeeds() {
    let shop = Shop::with_api_only().await;
    let sale = shop.open_sale(3).await;
    let order = reserve(&shop, sale).await;
    let failed = json!({ "payment_id": Uuid::now_v7(), "order_id": order, "reason": "declined" });
    let failed = delivery(events::PAYMENTS, types::PAYMENT_FAILED, order, &failed);
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
    // Redis has confirmed, and the batch is about to be written, when a rebuild of the sale begins.
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

    // It comes again, and waits for the end of the doubt; then one of two takes it.
    one.handle(&[payment]).await.unwrap();
    let (parked, paid) =
        ("SELECT count(*) FROM parked_payments", "SELECT count(*) FROM outbox WHERE type LIKE '%paid%'");
    one.book_parked().await.unwrap();
    assert_eq!((shop.backing.number(parked).await, shop.backing.number(paid).await), (1, 0));
    sqlx::query("UPDATE sales SET doubt = NULL").execute(&shop.backing.pool).await.unwrap();
    let (first, second) = tokio::join!(one.book_parked(), other.book_parked());
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
            delivery(events::PRODUCTS, types::PRODUCT_CHANGED, Uuid::nil(), &product(MUG, quantity, version));
        worker.handle(&[changed]).await.unwrap();
        shop.backing.standing().await
    };
    assert_eq!(change(120, 2).await, [120, 60]);
    assert_eq!(change(70, 1).await, [120, 60], "an older version changes nothing");
    assert_eq!(change(60, 3).await, [60, 60]);
    assert_eq!(change(59, 4).await, [60, 60], "refused");
    assert_eq!(shop.backing.number("SELECT refused_supply FROM skus").await, 59);
    assert_eq!(change(65, 5).await, [65, 60], "counted from what was last accepted");
}
