//! Events as the consumer would hand them over, made by hand for a worker that the test calls by hand.

use std::time::Duration;

use rocketmart_contracts::event::{
    Payload as _, PaymentFailed, PaymentSubmitted, PaymentSucceeded, Released, Reserved, ShipmentUpdated,
};
use rocketmart_contracts::topic;
use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::Delivery;
use rocketmart_order::worker::Worker;
use rocketmart_stock::{BuyerId, Line, OrderId, Reserve, ReserveOutcome, SaleId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shop::{MUG, PRICE, Shop};

pub fn delivery(topic: &str, event_type: &str, key: Uuid, data: &Value) -> Delivery {
    let event = Event::new("/rocketmart/test", event_type, key, data);
    Delivery { topic: topic.to_owned(), partition: 0, offset: 0, event }
}

pub fn reserved(sale: Uuid, order: Uuid, quantity: i64) -> Delivery {
    let data = json!({
        "order_id": order, "sale_id": sale, "buyer_id": Uuid::now_v7(), "currency": "EUR",
        "lines": [{ "sku": MUG, "quantity": quantity, "unit_price": PRICE }], "amount": PRICE * quantity,
        "reserved_at_ms": 1_700_000_000_000_i64, "pay_by_ms": 1_700_000_060_000_i64,
    });
    delivery(topic::RESERVATIONS, Reserved::TYPE, order, &data)
}

pub fn released(sale: Uuid, order: Uuid) -> Delivery {
    let data = json!({ "order_id": order, "sale_id": sale, "reason": "expired", "released_at_ms": 1_700_000_060_000_i64 });
    delivery(topic::RESERVATIONS, Released::TYPE, order, &data)
}

pub fn submitted(sale: Uuid, order: Uuid) -> Delivery {
    let data = json!({ "order_id": order, "sale_id": sale, "buyer_id": Uuid::now_v7(), "submitted_at_ms": 1_700_000_001_000_i64 });
    delivery(topic::RESERVATIONS, PaymentSubmitted::TYPE, order, &data)
}

pub fn succeeded(order: Uuid) -> Delivery {
    let data = json!({ "payment_id": Uuid::now_v7(), "order_id": order, "amount": PRICE, "currency": "EUR",
        "succeeded_at_ms": 1_700_000_030_000_i64 });
    delivery(topic::PAYMENTS, PaymentSucceeded::TYPE, order, &data)
}

pub fn failed(order: Uuid) -> Delivery {
    let data = json!({ "payment_id": Uuid::now_v7(), "order_id": order, "reason": "declined",
        "closed": true });
    delivery(topic::PAYMENTS, PaymentFailed::TYPE, order, &data)
}

pub fn preparing(order: Uuid) -> Delivery {
    let data = json!({ "shipment_id": Uuid::now_v7(), "order_id": order, "state": "preparing", "at_ms": 1_700_000_031_000_i64 });
    delivery(topic::DELIVERIES, ShipmentUpdated::TYPE, order, &data)
}

pub fn worker(shop: &Shop) -> Worker {
    Worker::new(shop.backing.pool.clone(), shop.backing.stock.clone(), Duration::ZERO)
}

/// Reserves a mug in Redis without telling SQL.
pub async fn reserve(shop: &Shop, sale: Uuid) -> Uuid {
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

/// Everything that the worker writes, as one text.
pub async fn books(shop: &Shop) -> String {
    let query = "SELECT concat_ws(' ',
        (SELECT string_agg(o::text, ';' ORDER BY id) FROM orders o),
        (SELECT string_agg(i::text, ';') FROM sale_items i), (SELECT string_agg(s::text, ';') FROM stock s),
        (SELECT count(*) FROM order_events), (SELECT count(*) FROM outbox), (SELECT count(*) FROM payments_seen))";
    sqlx::query_scalar(query).fetch_one(&shop.backing.pool).await.unwrap()
}
