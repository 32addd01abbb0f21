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
    let part_of = Some(Uuid::now_v7());
    let event = order.refund_requested_for(part_of, &payment, 5_000);
    // The same event again, and another one about the same refund.
    shop.send(&[event.clone(), event, order.refund_requested_for(part_of, &payment, 5_000)]).await;

    let refund = shop.told("refunded", order.id).await;
    assert_eq!(refund["payment_id"], payment["payment_id"]);
    assert_eq!((&refund["amount"], &refund["reason"]), (&json!(5_000), &json!("returned")));
    assert_eq!(refund["reference"], json!(part_of));
    // And again when it is long made.
    shop.send(&[order.refund_requested_for(part_of, &payment, 5_000)]).await;
    a_while().await;
    assert_eq!(shop.heard_of(order.id).len(), 2);
    assert_eq!(shop.charges_of(order.id).await[0].refunded, 5_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_refunded_up_to_the_whole_and_survive_an_outage() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    let payment = shop.told("succeeded", order.id).await;
    shop.control(json!({"outage": true})).await;
    let too_much = Some(Uuid::now_v7());
    let mut parts = [5_000, 7_000].map(|part| order.refund_requested(&payment, part)).to_vec();
    parts.push(order.refund_requested_for(too_much, &payment, 1_000));
    parts.push(order.refund_requested(&payment, 900));
    shop.send(&parts).await;
    // What cannot be refunded is told without the provider.
    let failed = shop.told("refund_failed", order.id).await;
    assert_eq!((&failed["amount"], &failed["reason"]), (&json!(1_000), &json!("exceeds_captured")));
    assert_eq!((&failed["reference"], &failed["payment_id"]), (&json!(too_much), &payment["payment_id"]));
    a_while().await;
    shop.control(json!({"outage": false})).await;
    eventually("the parts that fit", async || (shop.all_told("refunded", order.id).len() == 3).then_some(()))
        .await;
    a_while().await;
    assert_eq!(shop.heard_of(order.id).len(), 5);
    assert_eq!(shop.charges_of(order.id).await[0].refunded, 12_900);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_workers_asked_for_the_whole_at_once_refund_it_once() {
    let shop = Shop::open().await;
    let _workers = [shop.worker().await, shop.worker().await];
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    let payment = shop.told("succeeded", order.id).await;
    let requests: Vec<_> = (0..8)
        .map(|n| {
            let mut request = order.refund_requested(&payment, 12_900);
            // Spread over the partitions, hence over the workers.
            request.key = n.to_string();
            request
        })
        .collect();
    shop.send(&requests).await;
    eventually("every answer", async || {
        let answers =
            shop.all_told("refunded", order.id).len() + shop.all_told("refund_failed", order.id).len();
        (answers == requests.len()).then_some(())
    })
    .await;
    assert_eq!(shop.all_told("refunded", order.id).len(), 1);
    assert_eq!(shop.charges_of(order.id).await[0].refunded, 12_900);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_the_provider_refuses_is_told_and_its_money_can_be_asked_for_again() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    let payment = shop.told("succeeded", order.id).await;
    // Money that went back behind our back.
    let charge = shop.charges_of(order.id).await.remove(0);
    shop.http
        .post(format!("{}/v1/charges/{}/refunds", shop.provider.url(), charge.id))
        .header("idempotency-key", "by hand")
        .json(&json!({"amount": 10_000}))
        .send()
        .await
        .unwrap();
    let reference = Some(Uuid::now_v7());
    shop.send(&[order.refund_requested_for(reference, &payment, 12_900)]).await;
    let failed = shop.told("refund_failed", order.id).await;
    assert_eq!(
        (&failed["reason"], &failed["reference"]),
        (&json!("refund_exceeds_charge"), &json!(reference))
    );
    // A failed refund's name is free again.
    shop.send(&[order.refund_requested_for(reference, &payment, 2_900)]).await;
    assert_eq!(shop.told("refunded", order.id).await["amount"], 2_900);
    assert_eq!(shop.charges_of(order.id).await[0].refunded, 12_900);
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
