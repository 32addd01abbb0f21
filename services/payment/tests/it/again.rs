//! P4: a payment that failed, and another card. S8: a payment of nothing.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::Client;
use crate::shop::{Order, Shop, a_while, eventually};

async fn failures(shop: &Shop, order: &Order, count: usize) -> Vec<Value> {
    eventually("the payment to fail", async || {
        let told = shop.all_told("failed", order.id);
        (told.len() == count).then_some(told)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_a_declined_card_is_followed_by_another_and_the_order_is_charged_once() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let buyer = shop.buyer_paying_with("tok_declined_1").await;
    let second = shop.add_method(buyer, "tok_declined_2", false).await;
    let third = shop.add_method(buyer, "tok_3", false).await;
    let order = Order::of(buyer);
    shop.send(&[order.payment_requested()]).await;
    let failed = failures(&shop, &order, 1).await;
    assert_eq!((&failed[0]["attempt"], &failed[0]["closed"]), (&Value::Null, &Value::Null));

    // Two different events ask for it; each counts as one attempt.
    let with = |method| Order { method: Some(method), ..order.clone() };
    shop.send(&[with(second).payment_requested_again(2), with(third).payment_requested_again(2)]).await;
    let failed = failures(&shop, &order, 2).await;
    assert_eq!((&failed[1]["attempt"], &failed[1]["reason"]), (&json!(2), &json!("card_declined")));
    assert_eq!(failed[1]["payment_id"], failed[0]["payment_id"], "one payment for each order");
    shop.send(&[with(third).payment_requested_again(3)]).await;
    let paid = shop.told("succeeded", order.id).await;
    assert_eq!(paid["payment_id"], failed[0]["payment_id"]);
    // An old request changes nothing.
    shop.send(&[order.payment_requested(), with(second).payment_requested_again(2)]).await;
    a_while().await;
    assert_eq!(shop.heard_of(order.id).len(), 3);
    assert_eq!(shop.charges_of(order.id).await.len(), 1);
    assert_eq!(shop.authorizations_of(order.id).await.len(), 3);
    let tried: Vec<(i32, String)> =
        sqlx::query_as("SELECT request, reason FROM payment_requests_failed ORDER BY request")
            .fetch_all(&shop.pool)
            .await
            .unwrap();
    assert_eq!(tried, [(1, "card_declined".to_owned()), (2, "card_declined".to_owned())]);
    let api = shop.api().await;
    let (_, seen) = Client::new(&shop, &api, buyer).get("/api/v1/payments").await;
    assert_eq!((&seen["data"][0]["attempt"], &seen["data"][0]["state"]), (&json!(3), &json!("succeeded")));
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_an_answer_that_is_lost_at_the_second_card_charges_it_once() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let buyer = shop.buyer_paying_with("tok_declined_1").await;
    let second = shop.add_method(buyer, "tok_2", false).await;
    let order = Order { method: Some(second), ..Order::of(buyer) };
    shop.send(&[Order { method: None, ..order.clone() }.payment_requested()]).await;
    failures(&shop, &order, 1).await;
    shop.control(json!({"timeout_after_charging_rate": 1.0})).await;
    shop.send(&[order.payment_requested_again(2)]).await;
    shop.told("succeeded", order.id).await;
    a_while().await;
    assert_eq!(shop.charges_of(order.id).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_a_method_that_is_not_there_and_a_token_the_provider_does_not_know_may_be_followed_by_others() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let buyer = Uuid::now_v7();
    let order = Order::of(buyer);
    shop.send(&[order.payment_requested()]).await;
    assert_eq!(failures(&shop, &order, 1).await[0]["reason"], "payment_method_unknown");
    let odd = Order { method: Some(shop.add_method(buyer, "nonsense", true).await), ..order.clone() };
    shop.send(&[odd.payment_requested_again(2)]).await;
    assert_eq!(failures(&shop, &order, 2).await[1]["reason"], "provider_refused");
    let good = Order { method: Some(shop.add_method(buyer, "tok_good", false).await), ..order.clone() };
    shop.send(&[good.payment_requested_again(3)]).await;
    shop.told("succeeded", order.id).await;
    assert_eq!(shop.charges_of(order.id).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_what_is_closed_for_charging_stays_so_whatever_the_card() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await).pay_within(std::time::Duration::ZERO);
    shop.send(&[order.payment_requested()]).await;
    let failed = failures(&shop, &order, 1).await;
    assert_eq!((&failed[0]["reason"], &failed[0]["closed"]), (&json!("deadline"), &json!(true)));
    shop.send(&[order.payment_requested_again(2)]).await;
    let failed = failures(&shop, &order, 2).await;
    assert_eq!((&failed[1]["attempt"], &failed[1]["closed"]), (&json!(2), &json!(true)));
    assert!(shop.charges_of(order.id).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_what_costs_nothing_is_paid_without_card_and_provider() {
    let shop = Shop::open().await;
    shop.control(json!({"outage": true})).await;
    let _worker = shop.worker().await;
    let order = Order { amount: 0, ..Order::of(Uuid::now_v7()) };
    shop.send(&[order.payment_requested()]).await;
    let paid = shop.told("succeeded", order.id).await;
    assert_eq!(paid["amount"], 0);
    shop.send(&[order.refund_requested(&paid, 0)]).await;
    assert_eq!(shop.told("refunded", order.id).await["amount"], 0);
    shop.control(json!({"outage": false})).await;
    assert!(shop.charges_of(order.id).await.is_empty() && shop.authorizations_of(order.id).await.is_empty());
}
