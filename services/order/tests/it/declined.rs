//! P4 and P7: a declined card, and the next one.

use rocketmart_contracts::event::{OrderReleased, Payload as _, PaymentRequested, RefundRequested};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::rebuild::{flush, rebuild};
use crate::shop::{Caller, Shop, eventually, moment, now_ms, offer};

async fn pay(buyer: &Caller, order: &Value, card: Option<Uuid>) -> (u16, Value) {
    let path = format!("/api/v1/orders/{}/payment", order["id"].as_str().unwrap());
    buyer.post(&path, &json!({ "payment_method_id": card })).await
}

/// Waits until the buyer sees that the payment failed.
async fn failed(buyer: &Caller, order: &Value) -> Value {
    let mut seen = Value::Null;
    eventually("the payment failed", async || {
        seen = buyer.get(&format!("/api/v1/orders/{}", order["id"].as_str().unwrap())).await.1;
        seen["payment"]["state"] == "failed" && seen["payment"]["reason"].is_string()
    })
    .await;
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_a_declined_card_costs_no_unit_and_the_next_one_pays_for_the_order_once() {
    let shop = Shop::open().await;
    let sale = shop.open_sale(1).await;
    let (buyer, later) = (shop.buyer(), shop.buyer());
    let (_, order) = buyer.purchase(sale, 1, "k").await;
    let id = order["id"].as_str().unwrap();
    let (first, second, payment) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    assert_eq!(pay(&buyer, &order, Some(first)).await.0, 202);
    shop.told.until(PaymentRequested::TYPE, id, 1).await;
    shop.card_is_declined(&order, payment, 1).await;
    let seen = failed(&buyer, &order).await;
    assert_eq!((&seen["state"], &seen["payment"]["reason"]), (&json!("reserved"), &json!("card_declined")));
    assert_eq!(shop.backing.ledger().await, [1, 0, 1, 0]);
    assert_eq!(later.purchase(sale, 1, "k").await.1["code"], "sold-out");
    let (status, confirmed) = buyer.post(&format!("/api/v1/orders/{id}/payment/confirm"), &json!({})).await;
    assert_eq!((status, &confirmed["code"]), (409, &json!("order-not-payable")), "say first how");

    let (status, again) = pay(&buyer, &order, Some(second)).await;
    assert_eq!((status, &again["payment"]["state"]), (202, &json!("requested")), "{again}");
    // Hearing of the first payment again is not news of the second.
    shop.card_is_declined(&order, payment, 1).await;
    let asked = shop.told.until(PaymentRequested::TYPE, id, 2).await;
    let of = |index: usize| (asked[index]["attempt"].clone(), asked[index]["payment_method_id"].clone());
    assert_eq!(of(0), (Value::Null, json!(first)));
    assert_eq!(of(1), (json!(2), json!(second)));
    shop.payment_succeeds(&order, payment).await;
    shop.until_booked(id, "paid").await;
    assert_eq!(shop.backing.ledger().await, [1, 0, 0, 1]);
    assert!(shop.told.of(OrderReleased::TYPE, id).is_empty());
    assert!(shop.told.of(RefundRequested::TYPE, id).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_a_declined_order_that_nobody_pays_expires_at_its_deadline() {
    let shop = Shop::open().await;
    let mut terms = offer(1);
    terms["payment_seconds"] = json!(3);
    let sale = shop.sale(terms).await;
    let buyer = shop.buyer();
    let (_, order) = buyer.purchase(sale, 1, "k").await;
    let id = order["id"].as_str().unwrap();
    assert_eq!(pay(&buyer, &order, None).await.0, 202);
    shop.told.until(PaymentRequested::TYPE, id, 1).await;
    shop.card_is_declined(&order, Uuid::now_v7(), 1).await;
    eventually("it is over", async || {
        let (_, seen) = buyer.get(&format!("/api/v1/orders/{id}")).await;
        // On a slow machine the deadline passes before the worker hears about the card.
        ["expired", "payment_failed"].iter().any(|state| seen["state"] == *state)
    })
    .await;
    assert_eq!(failed(&buyer, &order).await["payment"]["reason"], "card_declined");
    assert_eq!(shop.backing.ledger().await, [1, 1, 0, 0]);
    let (status, refused) = pay(&buyer, &order, None).await;
    assert_eq!(status, 409, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_a_card_that_is_declined_after_the_deadline_ends_the_order() {
    let mut shop = Shop::with_api_only().await;
    shop.backing.grace.payment_grace_seconds = 300;
    shop.keep(shop.backing.run_relay().await);
    shop.keep(shop.backing.run_worker().await);
    let mut terms = offer(1);
    terms["payment_seconds"] = json!(1);
    let sale = shop.sale(terms).await;
    let buyer = shop.buyer();
    let (_, order) = buyer.purchase(sale, 1, "k").await;
    let id = order["id"].as_str().unwrap();
    let (status, paying) = pay(&buyer, &order, None).await;
    assert_eq!(status, 202, "{paying}");
    shop.told.until(PaymentRequested::TYPE, id, 1).await;
    let pay_by = moment(&paying["pay_by"]).unix_timestamp_nanos() / 1_000_000;
    eventually("the deadline has passed", async || i128::from(now_ms()) > pay_by + 100).await;
    shop.card_is_declined(&order, Uuid::now_v7(), 1).await;
    shop.until_booked(id, "payment_failed").await;
    assert_eq!(shop.backing.ledger().await, [1, 1, 0, 0]);
    assert_eq!(shop.told.until(OrderReleased::TYPE, id, 1).await[0]["reason"], "payment_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_what_was_declined_survives_the_loss_of_redis() {
    let shop = Shop::open().await;
    let sale = shop.open_sale(2).await;
    let buyer = shop.buyer();
    let (_, order) = buyer.purchase(sale, 1, "k").await;
    let id = order["id"].as_str().unwrap();
    pay(&buyer, &order, None).await;
    shop.told.until(PaymentRequested::TYPE, id, 1).await;
    shop.card_is_declined(&order, Uuid::now_v7(), 1).await;
    failed(&buyer, &order).await;
    flush(&shop).await;
    rebuild(&shop, sale).await;
    let mut answer = (0, Value::Null);
    eventually("the next payment is taken", async || {
        answer = pay(&buyer, &order, None).await;
        answer.0 != 503
    })
    .await;
    assert_eq!(answer.0, 202, "{}", answer.1);
    let asked = shop.told.until(PaymentRequested::TYPE, id, 2).await;
    assert_eq!(asked[1]["attempt"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_another_card_is_refused_while_a_payment_is_under_way_and_after_it_succeeded() {
    let shop = Shop::open().await;
    let sale = shop.open_sale(1).await;
    let buyer = shop.buyer();
    let (_, order) = buyer.purchase(sale, 1, "k").await;
    let id = order["id"].as_str().unwrap();
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    assert_eq!(pay(&buyer, &order, Some(first)).await.0, 202);
    for same in [Some(first), None] {
        assert_eq!(pay(&buyer, &order, same).await.0, 202, "the same wish, or none in particular");
    }
    let elsewhere = json!({ "delivery_address_id": Uuid::now_v7() });
    let prepared = json!({ "payment_method_id": second, "confirm": false });
    for other in [json!({ "payment_method_id": second }), elsewhere, prepared] {
        let (status, told) = buyer.post(&format!("/api/v1/orders/{id}/payment"), &other).await;
        assert_eq!((status, &told["code"]), (409, &json!("payment-under-way")), "{other} {told}");
    }
    shop.told.until(PaymentRequested::TYPE, id, 1).await;
    shop.payment_succeeds(&order, Uuid::now_v7()).await;
    shop.until_booked(id, "paid").await;
    let (status, told) = pay(&buyer, &order, Some(second)).await;
    assert_eq!((status, &told["code"]), (409, &json!("order-not-payable")), "{told}");
    assert_eq!(pay(&buyer, &order, Some(first)).await.0, 202);
    assert_eq!(shop.told.of(PaymentRequested::TYPE, id).len(), 1);
}
