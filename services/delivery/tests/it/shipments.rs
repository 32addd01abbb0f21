//! From paid orders to delivered parcels.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shop::{Client, Order, Shop, a_while, address, eventually};

const WHOLE_WAY: [&str; 3] = ["preparing", "shipped", "delivered"];

#[tokio::test(flavor = "multi_thread")]
async fn an_order_gets_one_shipment_though_its_event_came_twice_and_takes_its_steps_in_order() {
    let shop = Shop::open().await;
    let _worker = shop.worker(1).await;
    let order = Order::of(Uuid::now_v7());
    let event = order.paid();
    // Again with the same id, and once more as another event about the same order.
    shop.send(&[event.clone(), event, order.paid()]).await;
    shop.wait_for_told(order.id, &WHOLE_WAY).await;
    a_while().await;
    assert_eq!(shop.states_told(order.id), WHOLE_WAY);

    let updates = shop.updates(order.id);
    let at: Vec<i64> = updates.iter().map(|u| u["at_ms"].as_i64().unwrap()).collect();
    assert!(at[1] - at[0] >= 1_000 && at[2] - at[1] >= 1_000, "{at:?}");
    assert_eq!(updates[0].get("tracking_number"), None);
    assert!(updates[1]["tracking_number"].is_string());
    assert_eq!(updates[1]["tracking_number"], updates[2]["tracking_number"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_workers_at_once_take_no_step_twice() {
    const ORDERS: usize = 1_500;
    let shop = Shop::open().await;
    let workers = [shop.worker(0).await, shop.worker(0).await, shop.worker(0).await];
    let orders: Vec<Order> = (0..ORDERS).map(|_| Order::of(Uuid::now_v7())).collect();
    let events: Vec<_> = orders.iter().map(Order::paid).collect();
    shop.send(&events).await;
    eventually("every parcel to arrive", async || {
        let delivered: i64 = sqlx::query_scalar("SELECT count(*) FROM shipments WHERE state = 'delivered'")
            .fetch_one(&shop.pool)
            .await
            .unwrap();
        (delivered == i64::try_from(ORDERS).unwrap()).then_some(())
    })
    .await;
    for order in &orders {
        shop.wait_for_told(order.id, &WHOLE_WAY).await;
    }
    a_while().await;
    assert!(orders.iter().all(|order| shop.states_told(order.id) == WHOLE_WAY));
    for worker in workers {
        worker.stop().await;
    }
}

/// How many rows of `addresses` were read by scanning the table, and how many by an index.
async fn addresses_read(shop: &Shop) -> (i64, i64) {
    sqlx::query_as("SELECT seq_tup_read, idx_scan FROM pg_stat_user_tables WHERE relname = 'addresses'")
        .fetch_one(&shop.pool)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_parcel_costs_does_not_grow_with_the_addresses() {
    const ORDERS: usize = 50;
    let shop = Shop::open().await;
    let _worker = shop.worker(3_600).await;
    sqlx::query(
        "INSERT INTO addresses (id, member_id, recipient, line1, city, postal_code, country, is_default)
         SELECT gen_random_uuid(), gen_random_uuid(), 'A', 'B', 'C', 'D', 'KR', true
         FROM generate_series(1, 20000)",
    )
    .execute(&shop.pool)
    .await
    .unwrap();
    sqlx::query("VACUUM ANALYZE addresses").execute(&shop.pool).await.unwrap();
    let (before, _) = addresses_read(&shop).await;
    let events: Vec<_> = (0..ORDERS).map(|_| Order::of(Uuid::now_v7()).paid()).collect();
    shop.send(&events).await;
    shop.wait_for_taken(ORDERS).await;
    // PostgreSQL publishes its read counts a moment later, both at once.
    let read = eventually("the reading to be counted", async || {
        let (rows, lookups) = addresses_read(&shop).await;
        (rows > before || lookups >= i64::try_from(ORDERS).unwrap()).then_some(rows)
    })
    .await;
    assert_eq!(read, before, "each order has gone through all addresses");
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_missed_while_no_worker_ran_are_made_up() {
    let shop = Shop::open().await;
    let worker = shop.worker(1).await;
    let order = Order::of(Uuid::now_v7());
    shop.send(&[order.paid()]).await;
    shop.wait_for_told(order.id, &["preparing"]).await;
    worker.stop().await;
    a_while().await;
    assert_eq!(shop.states_told(order.id), ["preparing"]);
    let _worker = shop.worker(1).await;
    shop.wait_for_told(order.id, &WHOLE_WAY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_released_while_preparing_is_not_shipped() {
    let shop = Shop::open().await;
    let worker = shop.worker(3_600).await;
    let (cancelled, kept) = (Order::of(Uuid::now_v7()), Order::of(Uuid::now_v7()));
    shop.send(&[cancelled.paid(), kept.paid(), cancelled.released()]).await;
    shop.wait_for_taken(3).await;
    worker.stop().await;
    sqlx::query("UPDATE shipments SET next_look_at = now() WHERE next_look_at IS NOT NULL")
        .execute(&shop.pool)
        .await
        .unwrap();
    let _worker = shop.worker(0).await;
    shop.wait_for_told(kept.id, &WHOLE_WAY).await;
    assert_eq!(shop.states_told(cancelled.id), ["preparing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parcel_goes_to_the_chosen_address_or_the_default_as_it_was_when_paid() {
    let shop = Shop::open().await;
    let (api, _worker) = (shop.api().await, shop.worker(3_600).await);
    let buyer = Uuid::now_v7();
    let me = Client::new(&api, buyer);
    me.add_address("서울").await;
    let chosen = me.add_address("부산").await;
    let strangers = Client::new(&api, Uuid::now_v7()).add_address("대구").await;

    let by_default = Order::of(buyer);
    let by_choice = Order { address: Some(chosen), ..Order::of(buyer) };
    let with_foreign = Order { address: Some(strangers), ..Order::of(buyer) };
    let homeless = Order::of(Uuid::now_v7());
    // The address was deleted after it was chosen. The parcel still goes there.
    me.call(Method::DELETE, &format!("/api/v1/addresses/{chosen}"), None).await;
    let all = [&by_default, &by_choice, &with_foreign, &homeless];
    shop.send(&all.map(Order::paid)).await;
    shop.wait_for_taken(4).await;
    let default = me.get("/api/v1/addresses").await.1["data"][0]["id"].as_str().unwrap().to_owned();
    me.call(Method::PATCH, &format!("/api/v1/addresses/{default}"), Some(&json!({"city": "광주"}))).await;

    let table = [
        (&me, &by_default, json!("서울")),
        (&me, &by_choice, json!("부산")),
        (&me, &with_foreign, Value::Null),
        (&Client::new(&api, homeless.buyer), &homeless, Value::Null),
    ];
    for (client, order, city) in table {
        let (_, list) = client.get("/api/v1/shipments").await;
        let shipments = list["data"].as_array().unwrap();
        let shipment = shipments.iter().find(|s| s["order_id"] == json!(order.id)).unwrap();
        assert_eq!(shipment["address"]["city"], city);
        assert_eq!(shipment["lines"], json!([{"sku": "SNEAKER-42", "quantity": 1}]));
        assert_eq!(shipment["steps"][0]["state"], "preparing");
    }
    let whole = &me.get("/api/v1/shipments").await.1["data"];
    let with_address = whole.as_array().unwrap().iter().find(|s| !s["address"].is_null()).unwrap();
    assert_eq!(with_address["address"]["recipient"], address("x")["recipient"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_sees_own_shipments_page_by_page_and_nobody_elses() {
    let shop = Shop::open().await;
    let (api, _worker) = (shop.api().await, shop.worker(3_600).await);
    let buyer = Uuid::now_v7();
    for n in 0..3 {
        shop.send(&[Order::of(buyer).paid()]).await;
        shop.wait_for_taken(n + 1).await;
    }
    let me = Client::new(&api, buyer);
    let (_, first) = me.get("/api/v1/shipments?limit=2").await;
    assert_eq!((first["data"].as_array().unwrap().len(), &first["has_more"]), (2, &json!(true)));
    let next = format!("/api/v1/shipments?limit=2&cursor={}", first["next_cursor"].as_str().unwrap());
    let (_, rest) = me.get(&next).await;
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["has_more"]), (1, &json!(false)));

    let path = format!("/api/v1/shipments/{}", rest["data"][0]["id"].as_str().unwrap());
    assert_eq!(me.get(&path).await, (StatusCode::OK, rest["data"][0].clone()));
    let stranger = Client::new(&api, Uuid::now_v7());
    let (status, problem) = stranger.get(&path).await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("shipment-unknown")));
    assert_eq!(stranger.get("/api/v1/shipments").await.1["data"], json!([]));
}
