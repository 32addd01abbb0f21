//! What a sale's stream says, in the words of docs/contracts.md.

use std::time::{Duration, Instant};

use rocketmart_stock::{PaymentDetails, ReleaseReason, StockError, StreamEntry, StreamEvent, SubmitPayment};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{CUP, Sale, TEA, TRACE, a_buyer, expect_reserved, item};

async fn entries(sale: &Sale) -> Vec<StreamEntry> {
    sale.stock.read_events(sale.id(), "0", 1_000, Duration::ZERO).await.unwrap()
}

fn data(event: &StreamEvent) -> Value {
    serde_json::from_str(&event.data).unwrap()
}

#[tokio::test]
async fn a_reservation_is_told_in_full() {
    let mut cup = item(CUP, 5, None);
    cup.price = 1_234_567_890_123_457; // more digits than Lua prints of a number by default
    let sale = Sale::of(vec![item(TEA, 10, None), cup]).await;
    let wish = sale.wish(a_buyer(), "key", &[(TEA, 2), (CUP, 1)]);
    let reservation = expect_reserved(sale.decide(&wish).await);
    let [entry] = entries(&sale).await.try_into().unwrap();
    let [event] = entry.events.try_into().unwrap();
    assert_eq!(event.event_type, "rocketmart.reservation.reserved.v1");
    assert_eq!(event.key, reservation.order.to_string());
    assert_eq!(event.traceparent.as_deref(), Some(TRACE));
    assert_eq!(
        data(&event),
        json!({
            "order_id": reservation.order,
            "sale_id": sale.id(),
            "buyer_id": wish.buyer,
            "lines": [
                {"sku": TEA, "quantity": 2, "unit_price": 1_000},
                {"sku": CUP, "quantity": 1, "unit_price": 1_234_567_890_123_457_i64},
            ],
            "amount": 1_234_567_890_125_457_i64,
            "currency": "EUR",
            "reserved_at_ms": reservation.reserved_at_ms,
            "pay_by_ms": reservation.pay_by_ms,
            "idempotency_key": wish.key,
            "request_hash": wish.request_hash,
        })
    );
}

#[tokio::test]
async fn a_key_with_quotes_and_backslashes_is_told_as_it_is() {
    let sale = Sale::of_tea(10).await;
    let key = r#"a"b\c%d"#;
    expect_reserved(sale.decide(&sale.wish(a_buyer(), key, &[(TEA, 1)])).await);
    let [entry] = entries(&sale).await.try_into().unwrap();
    assert_eq!(data(&entry.events[0])["idempotency_key"], key);
}

#[tokio::test]
async fn a_submitted_payment_is_told_with_what_was_chosen() {
    let sale = Sale::of_tea(10).await;
    let reservation = sale.reserve_tea(a_buyer()).await;
    let method = Uuid::new_v4();
    let details = PaymentDetails { payment_method_id: Some(method), delivery_address_id: None };
    let submit = SubmitPayment { details: Some(details), ..sale.payment(&reservation) };
    sale.stock.submit_payment(&submit).await.unwrap();
    let event = entries(&sale).await.remove(1).events.remove(0);
    assert_eq!(event.event_type, "rocketmart.reservation.payment_submitted.v1");
    let submitted_at_ms = data(&event)["submitted_at_ms"].as_i64().unwrap();
    assert!(submitted_at_ms >= reservation.reserved_at_ms);
    assert_eq!(
        data(&event),
        json!({
            "order_id": reservation.order,
            "sale_id": sale.id(),
            "buyer_id": reservation.buyer,
            "payment_method_id": method,
            "submitted_at_ms": submitted_at_ms,
        })
    );
}

#[tokio::test]
async fn a_release_is_told_unless_sql_knows_it_already() {
    let sale = Sale::of_tea(10).await;
    let cancelled = sale.reserve_tea(a_buyer()).await;
    let expired = sale.reserve_tea(a_buyer()).await;
    let failed = sale.reserve_tea(a_buyer()).await;
    sale.stock.cancel(sale.id(), cancelled.order, cancelled.buyer).await.unwrap();
    sale.let_deadline_pass(&expired).await;
    sale.expire(10).await;
    sale.stock.release(sale.id(), &[(failed.order, ReleaseReason::PaymentFailed)]).await.unwrap();
    let told = entries(&sale).await.split_off(3);
    let told: Vec<_> = told.into_iter().flat_map(|entry| entry.events).collect();
    let reasons: Vec<_> =
        told.iter().map(|event| (event.key.clone(), data(event)["reason"].clone())).collect();
    assert_eq!(
        reasons,
        [(cancelled.order.to_string(), json!("cancelled")), (expired.order.to_string(), json!("expired"))]
    );
    let event = &told[0];
    assert_eq!(event.event_type, "rocketmart.reservation.released.v1");
    let released_at_ms = data(event)["released_at_ms"].as_i64().unwrap();
    assert_eq!(
        data(event),
        json!({"order_id": cancelled.order, "sale_id": sale.id(), "reason": "cancelled", "released_at_ms": released_at_ms})
    );
}

#[tokio::test]
async fn a_batch_is_one_entry_and_a_refused_batch_is_none() {
    let sale = Sale::of_tea(100).await;
    let wishes: Vec<_> = (0..150).map(|_| sale.wish(a_buyer(), "key", &[(TEA, 1)])).collect();
    sale.stock.reserve(sale.id(), &wishes).await.unwrap();
    sale.stock.reserve(sale.id(), &wishes).await.unwrap();
    let [entry] = entries(&sale).await.try_into().unwrap();
    let told: Vec<_> = entry.events.iter().map(|event| event.key.clone()).collect();
    let accepted: Vec<_> = wishes[..100].iter().map(|wish| wish.order.to_string()).collect();
    assert_eq!(told, accepted, "in the order of arrival");
    let counters = sale.counters().await;
    assert_eq!((counters.stream_length, counters.last_event_id), (1, entry.id));
}

#[tokio::test]
async fn a_forged_trace_context_does_not_reach_the_stream() {
    let sale = Sale::of_tea(10).await;
    let mut wish = sale.wish(a_buyer(), "key", &[(TEA, 1)]);
    wish.traceparent = Some(r#"","k":"somebody else"#.to_owned());
    sale.decide(&wish).await;
    assert_eq!(entries(&sale).await[0].events[0].traceparent, None);
}

#[tokio::test]
async fn reading_goes_on_after_the_last_entry_and_trimming_keeps_the_rest() {
    let sale = Sale::of_tea(10).await;
    for _ in 0..5 {
        sale.reserve_tea(a_buyer()).await;
    }
    let all = entries(&sale).await;
    let rest = sale.stock.read_events(sale.id(), &all[1].id, 2, Duration::ZERO).await.unwrap();
    assert_eq!(rest, all[2..4]);
    assert_eq!(sale.stock.trim(sale.id(), &all[1].id).await, Ok(2));
    assert_eq!(sale.stock.trim(sale.id(), &all[1].id).await, Ok(0));
    assert_eq!(entries(&sale).await, all[2..]);
    sale.stock.trim(sale.id(), &all[4].id).await.unwrap();
    assert_eq!(sale.counters().await.last_event_id, all[4].id, "an empty stream remembers how far it was");
    assert!(matches!(sale.stock.trim(sale.id(), "yesterday").await, Err(StockError::Protocol(_))));
}

#[tokio::test]
async fn waiting_for_events_holds_nobody_up() {
    let sale = Sale::of_tea(10).await;
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let (stock, id) = (sale.stock.clone(), sale.id());
            tokio::spawn(async move { stock.read_events(id, "0", 10, Duration::from_mins(1)).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    sale.reserve_tea(a_buyer()).await;
    for reader in waiting {
        assert_eq!(reader.await.unwrap().unwrap().len(), 1);
    }
    assert!(started.elapsed() < Duration::from_secs(30));

    let last = entries(&sale).await[0].id.clone();
    let nothing = sale.stock.read_events(sale.id(), &last, 10, Duration::from_millis(50)).await;
    assert_eq!(nothing, Ok(vec![]));
}
