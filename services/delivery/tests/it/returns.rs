//! Goods on their way back.

use serde_json::json;
use uuid::Uuid;

use crate::shop::{Client, Order, Shop, a_while, eventually};

const WHOLE_WAY: [&str; 3] = ["preparing", "shipped", "delivered"];
const WAY_BACK: [&str; 3] = ["announced", "in_transit", "received"];

fn states_of(shop: &Shop, order: Uuid, id: Uuid) -> Vec<String> {
    let updates = shop.heard_of(order, "return.updated").into_iter();
    let of_return = updates.filter(|update| update["return_id"] == json!(id));
    of_return.map(|update| update["state"].as_str().unwrap().to_owned()).collect()
}

async fn wait_for_received(shop: &Shop, order: Uuid, id: Uuid) {
    eventually("the goods to come back", async || (states_of(shop, order, id) == WAY_BACK).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_takes_its_steps_once_though_it_was_asked_for_twice() {
    let shop = Shop::open().await;
    let (api, _workers) = (shop.api().await, [shop.worker(0).await, shop.worker(0).await]);
    let order = Order::of(Uuid::now_v7());
    shop.send(&[order.paid()]).await;
    shop.wait_for_told(order.id, &WHOLE_WAY).await;
    let id = Uuid::now_v7();
    let request = order.return_requested(id, 1);
    shop.send(&[request.clone(), request, order.return_requested(id, 1)]).await;
    wait_for_received(&shop, order.id, id).await;
    a_while().await;
    assert_eq!(states_of(&shop, order.id, id), WAY_BACK);
    let updates = shop.heard_of(order.id, "return.updated");
    assert_eq!(updates[0].get("tracking_number"), None);
    assert!(updates[1]["tracking_number"].is_string());
    assert_eq!(updates[1]["tracking_number"], updates[2]["tracking_number"]);

    let (_, list) = Client::new(&api, order.buyer).get("/api/v1/shipments").await;
    let shown = &list["data"][0]["returns"][0];
    assert_eq!(
        (&shown["id"], &shown["state"], &shown["reason"]),
        (&json!(id), &json!("received"), &json!("too small"))
    );
    assert_eq!(shown["lines"], json!([{"sku": "SNEAKER-42", "quantity": 1}]));
    assert_eq!(shown["steps"].as_array().unwrap().len(), 3);
    let (_, one) = Client::new(&api, order.buyer)
        .get(&format!("/api/v1/shipments/{}", list["data"][0]["id"].as_str().unwrap()))
        .await;
    assert_eq!(one, list["data"][0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_delivered_or_came_back_before_is_parked_and_holds_up_nobody() {
    let shop = Shop::open().await;
    let worker = shop.worker(0).await;
    let order = Order::of(Uuid::now_v7());
    shop.send(&[order.paid()]).await;
    shop.wait_for_told(order.id, &WHOLE_WAY).await;
    worker.stop().await;
    let _worker = shop.worker(3_600).await;
    let on_its_way = Order::of(Uuid::now_v7());
    let stranger = Order { buyer: Uuid::now_v7(), ..order.clone() };
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    shop.send(&[
        on_its_way.paid(),
        on_its_way.return_requested(Uuid::now_v7(), 1),
        Order::of(Uuid::now_v7()).return_requested(Uuid::now_v7(), 1),
        stranger.return_requested(Uuid::now_v7(), 1),
        order.return_requested(first, 1),
        order.return_requested(second, 1),
    ])
    .await;
    shop.wait_for_parked(4).await;
    eventually("the first return", async || {
        (states_of(&shop, order.id, first) == ["announced"]).then_some(())
    })
    .await;
    assert!(states_of(&shop, order.id, second).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_that_was_parked_because_it_came_too_early_is_replayed_after_the_delivery_once() {
    let shop = Shop::open().await;
    let worker = shop.worker(3_600).await;
    let order = Order::of(Uuid::now_v7());
    let id = Uuid::now_v7();
    shop.send(&[order.paid(), order.return_requested(id, 1)]).await;
    shop.wait_for_parked(1).await;
    let letters = shop.dead_letters();
    let parked = &letters.letters().await.unwrap()[0];
    assert!(parked.error.contains("only what was delivered comes back"), "{}", parked.error);
    worker.stop().await;
    sqlx::query("UPDATE shipments SET next_look_at = now()").execute(&shop.pool).await.unwrap();
    let _worker = shop.worker(0).await;
    shop.wait_for_told(order.id, &WHOLE_WAY).await;

    for (again, sent) in [(false, 1), (false, 0), (true, 1)] {
        let replayed = letters.replay(|letter| again || letter.replayed_at.is_none()).await.unwrap();
        assert_eq!(replayed.len(), sent);
        wait_for_received(&shop, order.id, id).await;
    }
    a_while().await;
    assert_eq!(states_of(&shop, order.id, id), WAY_BACK);
    assert_eq!(letters.letters().await.unwrap().len(), 1, "nothing was parked anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_of_returns_missed_while_no_worker_ran_are_made_up() {
    let shop = Shop::open().await;
    let worker = shop.worker(0).await;
    let order = Order::of(Uuid::now_v7());
    shop.send(&[order.paid()]).await;
    shop.wait_for_told(order.id, &WHOLE_WAY).await;
    worker.stop().await;
    let worker = shop.worker(1).await;
    let id = Uuid::now_v7();
    shop.send(&[order.return_requested(id, 1)]).await;
    eventually("the announcement", async || (!states_of(&shop, order.id, id).is_empty()).then_some(())).await;
    worker.stop().await;
    a_while().await;
    let _worker = shop.worker(1).await;
    wait_for_received(&shop, order.id, id).await;
}
