//! Orders cancelled after they were paid: in time, too late, and at the very moment of the carrier's step.

use reqwest::StatusCode;
use serde_json::json;
use uuid::Uuid;

use crate::shop::{Client, Order, Shop, a_while, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_shipment_still_preparing_is_cancelled_and_never_leaves() {
    let shop = Shop::open().await;
    let (api, worker) = (shop.api().await, shop.worker(3_600).await);
    let order = Order::of(Uuid::now_v7());
    let request = order.cancel_requested();
    // In one batch with the payment; the request comes again, as the same event and as another one.
    shop.send(&[order.paid(), request.clone(), request, order.cancel_requested()]).await;
    shop.wait_for_told(order.id, &["preparing", "cancelled"]).await;
    // And again, long after it was answered.
    shop.send(&[order.cancel_requested()]).await;
    shop.wait_for_taken(4).await;
    worker.stop().await;
    sqlx::query("UPDATE shipments SET next_look_at = now() WHERE next_look_at IS NOT NULL")
        .execute(&shop.pool)
        .await
        .unwrap();
    let _worker = shop.worker(0).await;
    a_while().await;
    assert_eq!(shop.states_told(order.id), ["preparing", "cancelled"]);
    assert_eq!(shop.answers(order.id), ["cancelled"]);

    let (status, list) = Client::new(&api, order.buyer).get("/api/v1/shipments").await;
    assert_eq!((status, &list["data"][0]["state"]), (StatusCode::OK, &json!("cancelled")));
    assert_eq!(list["data"][0]["steps"][1]["state"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shipment_that_has_left_goes_on_and_the_refusal_is_told_once() {
    let shop = Shop::open().await;
    let _worker = shop.worker(0).await;
    let order = Order::of(Uuid::now_v7());
    shop.send(&[order.paid()]).await;
    shop.wait_for_told(order.id, &["preparing", "shipped", "delivered"]).await;
    let request = order.cancel_requested();
    shop.send(&[request.clone(), request, order.cancel_requested()]).await;
    let refusal =
        eventually("a refusal", async || shop.heard_of(order.id, "shipment.cancel_refused").pop()).await;
    shop.send(&[order.cancel_requested()]).await;
    shop.wait_for_taken(4).await;
    assert_eq!(refusal["state"], "delivered");
    assert_eq!(refusal["shipment_id"], shop.updates(order.id)[0]["shipment_id"]);
    a_while().await;
    assert_eq!(shop.answers(order.id), ["delivered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_races_with_the_carrier_gets_one_answer_and_it_is_the_truth() {
    const ORDERS: usize = 400;
    let shop = Shop::open().await;
    let _workers = [shop.worker(0).await, shop.worker(0).await, shop.worker(0).await];
    let orders: Vec<Order> = (0..ORDERS).map(|_| Order::of(Uuid::now_v7())).collect();
    // While each chunk is paid, the previous one is cancelled, twice.
    for chunk in orders.chunks(20) {
        shop.send(&chunk.iter().map(Order::paid).collect::<Vec<_>>()).await;
        let requests: Vec<_> =
            chunk.iter().flat_map(|o| [o.cancel_requested(), o.cancel_requested()]).collect();
        shop.send(&requests).await;
    }
    for order in &orders {
        eventually("an answer", async || (!shop.answers(order.id).is_empty()).then_some(())).await;
    }
    shop.wait_for_taken(ORDERS * 3).await;
    eventually("every other parcel to arrive", async || {
        let moving: i64 = sqlx::query_scalar("SELECT count(*) FROM shipments WHERE next_look_at IS NOT NULL")
            .fetch_one(&shop.pool)
            .await
            .unwrap();
        (moving == 0).then_some(())
    })
    .await;
    for order in &orders {
        eventually("the end of each journey is told", async || {
            let told = shop.states_told(order.id);
            told.last()
                .is_some_and(|state| ["cancelled", "delivered"].contains(&state.as_str()))
                .then_some(())
        })
        .await;
    }
    a_while().await;
    let mut cancelled = 0;
    for order in &orders {
        let (answers, states) = (shop.answers(order.id), shop.states_told(order.id));
        assert_eq!(answers.len(), 1, "{answers:?}");
        if answers[0] == "cancelled" {
            cancelled += 1;
            assert_eq!(states, ["preparing", "cancelled"]);
        } else {
            assert_eq!(states, ["preparing", "shipped", "delivered"]);
        }
    }
    println!("{cancelled} of {ORDERS} cancelled in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_cancelled_before_delivery_heard_of_it_is_never_shipped() {
    let shop = Shop::open().await;
    let _worker = shop.worker(0).await;
    let order = Order::of(Uuid::now_v7());
    shop.send(&[order.cancel_requested()]).await;
    shop.wait_for_told(order.id, &["cancelled"]).await;
    shop.send(&[order.paid()]).await;
    shop.wait_for_taken(2).await;
    a_while().await;
    assert_eq!(shop.states_told(order.id), ["cancelled"]);
}
