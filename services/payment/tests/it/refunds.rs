//! Money going back.

use serde_json::json;
use uuid::Uuid;

use crate::shop::{Order, Shop, a_while, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_asked_for_twice_is_made_once() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    let payment = shop.told("succeeded", order.id).await;
    let event = order.refund_requested(&payment, 12_900);
    // The same event again, and another one for money that is on its way back already.
    shop.send(&[event.clone(), event, order.refund_requested(&payment, 12_900)]).await;

    let refund = shop.told("refunded", order.id).await;
    assert_eq!(refund["payment_id"], payment["payment_id"]);
    assert_eq!((&refund["amount"], &refund["reason"]), (&json!(12_900), &json!("returned")));
    a_while().await;
    assert_eq!(shop.heard_of(order.id).len(), 2);
    assert_eq!(shop.charges_of(order.id).await[0].refunded, 12_900);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_refunded_up_to_the_whole_and_survive_an_outage() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    let payment = shop.told("succeeded", order.id).await;
    shop.control(json!({"outage": true})).await;
    let parts = [5_000, 7_000, 1_000].map(|part| order.refund_requested(&payment, part));
    shop.send(&parts).await;
    a_while().await;
    shop.control(json!({"outage": false})).await;
    eventually("both parts that fit", async || (shop.heard_of(order.id).len() == 3).then_some(())).await;
    a_while().await;
    assert_eq!(shop.heard_of(order.id).len(), 3);
    assert_eq!(shop.charges_of(order.id).await[0].refunded, 12_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_of_what_was_never_charged_is_parked_and_holds_up_nobody() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let buyer = shop.buyer_paying_with("tok_1").await;
    let order = Order::of(buyer);
    let unknown = Order { id: Uuid::now_v7(), ..order.clone() };
    let nonsense = unknown.refund_requested(&json!({"payment_id": Uuid::now_v7()}), 1);
    shop.send(&[nonsense, order.payment_requested()]).await;
    shop.told("succeeded", order.id).await;
    shop.wait_for_parked(1).await;
}
