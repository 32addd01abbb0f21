//! From `payment_requested` to a charge.

use std::collections::HashSet;
use std::time::Instant;

use rocketmart_kit::event::Event;
use rocketmart_kit::trace::TraceContext;
use rocketmart_outside::provider::ChargeStatus;
use serde_json::json;
use uuid::Uuid;

use crate::shop::{Order, Shop, a_while, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_charged_once_though_its_event_came_twice() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    let event = order.payment_requested();
    // Again with the same id, and once more as another event about the same order.
    shop.send(&[event.clone(), event, order.payment_requested()]).await;

    let payment = shop.told("succeeded", order.id).await;
    assert_eq!((&payment["amount"], &payment["currency"]), (&json!(12_900), &json!("KRW")));
    a_while().await;
    assert_eq!(shop.heard_of(order.id).len(), 1);
    let charges = shop.charges_of(order.id).await;
    assert_eq!(charges.len(), 1);
    assert_eq!((charges[0].status, charges[0].amount), (ChargeStatus::Succeeded, 12_900));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_card_fails_the_payment() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_declined_1").await);
    shop.send(&[order.payment_requested()]).await;
    assert_eq!(shop.told("failed", order.id).await["reason"], "card_declined");
    assert_eq!(shop.state_of(order.id).await.as_deref(), Some("failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_whose_answer_was_lost_is_made_once_and_succeeds() {
    let shop = Shop::open().await;
    shop.control(json!({"timeout_after_charging_rate": 1.0})).await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;

    shop.told("succeeded", order.id).await;
    a_while().await;
    assert_eq!(shop.heard_of(order.id).len(), 1);
    assert_eq!(shop.charges_of(order.id).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_for_longer_than_what_was_found_is_found_as_well() {
    let shop = Shop::open().await;
    shop.control(json!({"outage": true})).await;
    let worker = shop.worker().await;
    let (late, timely) = (shop.buyer_paying_with("tok_1").await, shop.buyer_paying_with("tok_2").await);
    let (late, timely) = (Order::of(late), Order::of(timely));
    shop.send(&[late.payment_requested()]).await;
    let due = async |when: &str| {
        sqlx::query(sqlx::AssertSqlSafe(format!("UPDATE payments SET due_at = {when} WHERE order_id = $1")))
            .bind(late.id)
            .execute(&shop.pool)
            .await
            .unwrap()
            .rows_affected()
    };
    shop.wait_for_state(late.id, "processing").await;
    worker.stop().await;
    assert_eq!(due("now() + interval '1 hour'").await, 1);
    shop.control(json!({"outage": false})).await;
    let _worker = shop.worker().await;
    shop.send(&[timely.payment_requested()]).await;
    shop.told("succeeded", timely.id).await;
    assert_eq!(due("now() - interval '1 hour'").await, 1);
    shop.told("succeeded", late.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_wait_out_an_outage_of_the_provider() {
    let shop = Shop::open().await;
    shop.control(json!({"outage": true})).await;
    let _worker = shop.worker().await;
    let buyer = shop.buyer_paying_with("tok_1").await;
    let orders: Vec<Order> = (0..20).map(|_| Order::of(buyer)).collect();
    let events: Vec<_> = orders.iter().map(Order::payment_requested).collect();
    shop.send(&events).await;
    for order in &orders {
        shop.wait_for_state(order.id, "processing").await;
    }
    a_while().await;
    assert!(orders.iter().all(|order| shop.heard_of(order.id).is_empty()));

    shop.control(json!({"outage": false})).await;
    for order in &orders {
        shop.told("succeeded", order.id).await;
        assert_eq!(shop.charges_of(order.id).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_method_is_the_one_named_or_the_default_and_never_somebody_elses() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let buyer = shop.buyer_paying_with("tok_declined_default").await;
    let other_method = shop.add_method(buyer, "tok_named", false).await;
    let stranger = shop.buyer_paying_with("tok_stranger").await;
    let foreign = shop.add_method(stranger, "tok_foreign", false).await;

    let by_default = Order::of(buyer);
    let named = Order { method: Some(other_method), ..Order::of(buyer) };
    let with_foreign = Order { method: Some(foreign), ..Order::of(buyer) };
    let without_any = Order::of(Uuid::now_v7());
    let all = [&by_default, &named, &with_foreign, &without_any];
    shop.send(&all.map(Order::payment_requested)).await;

    shop.told("succeeded", named.id).await;
    assert_eq!(shop.told("failed", by_default.id).await["reason"], "card_declined");
    for order in [&with_foreign, &without_any] {
        assert_eq!(shop.told("failed", order.id).await["reason"], "payment_method_unknown");
        assert!(shop.charges_of(order.id).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_workers_at_once_charge_every_order_exactly_once() {
    const ORDERS: usize = 2_000;
    let shop = Shop::open().await;
    let workers = [shop.worker().await, shop.worker().await, shop.worker().await];
    let buyer = shop.buyer_paying_with("tok_1").await;
    let orders: Vec<Order> = (0..ORDERS).map(|_| Order::of(buyer)).collect();
    let events: Vec<_> = orders.iter().map(Order::payment_requested).collect();
    let started = Instant::now();
    shop.send(&events).await;
    let charged = async || {
        let charged: i64 = sqlx::query_scalar("SELECT count(*) FROM payments WHERE state = 'succeeded'")
            .fetch_one(&shop.pool)
            .await
            .unwrap();
        (charged == i64::try_from(ORDERS).unwrap()).then_some(())
    };
    eventually("all orders to be charged", charged).await;
    println!("{ORDERS} payments in {:?}", started.elapsed());
    for order in &orders {
        shop.told("succeeded", order.id).await;
    }
    for worker in workers {
        worker.stop().await;
    }
    a_while().await;
    assert!(orders.iter().all(|order| shop.heard_of(order.id).len() == 1));
    let mut charged = HashSet::new();
    for order in orders.iter().step_by(50) {
        let charges = shop.charges_of(order.id).await;
        assert_eq!(charges.len(), 1);
        assert!(charged.insert(charges[0].id.clone()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_belongs_to_the_trace_of_the_request() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    let trace = TraceContext::root();
    let event = Event { traceparent: Some(trace.to_string()), ..order.payment_requested() };
    shop.send(&[event]).await;
    shop.told("succeeded", order.id).await;
    let answer: TraceContext = shop.heard_of(order.id)[0].traceparent.as_deref().unwrap().parse().unwrap();
    assert_eq!(answer.trace_id(), trace.trace_id());
}
