//! The relay keeps nothing, so somebody may kill, restart and double it.

use rocketmart_stock::SaleId;
use serde_json::json;

use crate::shop::{Shop, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn relays_that_send_everything_again_double_nothing_and_the_stream_is_trimmed() {
    let shop = Shop::with_api_only().await;
    let sale = shop.open_sale(20).await;
    for _ in 0..20 {
        let (status, order) = shop.buyer().purchase(sale, 1, "k").await;
        assert_eq!(status, 201, "{order}");
    }
    // No worker runs, so nothing is committed and nothing may be trimmed.
    for _ in 0..2 {
        let relay = shop.backing.run_relay().await;
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        drop(relay);
    }
    let counters = shop.backing.stock.counters(SaleId(sale)).await.unwrap().unwrap();
    assert_eq!(counters.stream_length, 20, "nothing may be trimmed before SQL has it");

    let _relays = (shop.backing.run_relay().await, shop.backing.run_relay().await);
    let _worker = shop.backing.run_worker().await;
    eventually("all orders are booked and the stream is empty", async || {
        let counters = shop.backing.stock.counters(SaleId(sale)).await.unwrap().unwrap();
        counters.stream_length == 0
    })
    .await;
    assert_eq!(shop.backing.number("SELECT count(*) FROM orders").await, 20);
    assert_eq!(shop.backing.ledger().await, [20, 0, 20, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_killed_in_mid_sale_loses_no_order_that_was_answered() {
    let mut shop = Shop::open().await;
    let sale = shop.open_sale(30).await;
    let mut answered = Vec::new();
    for round in 0..30 {
        let (status, order) = shop.buyer().purchase(sale, 1, "k").await;
        if status == 201 {
            answered.push(order["id"].as_str().unwrap().to_owned());
        }
        if round == 15 {
            shop.backing.redis.kill();
            shop.backing.redis.restart().unwrap();
        }
    }
    assert!(answered.len() >= 15, "{}", answered.len());
    for order in &answered {
        shop.until_booked(order, "reserved").await;
    }
    // Purchases whose answer was lost are orders too; what counts is that the books agree.
    eventually("SQL has caught up with Redis", async || {
        let counters = shop.backing.stock.counters(SaleId(sale)).await.unwrap().unwrap();
        let item = &counters.items[0];
        shop.backing.ledger().await
            == [item.preloaded, item.remaining, item.reserved, item.sold].map(i64::from)
    })
    .await;
    let (status, answer) = shop.buyer().get("/api/v1/orders").await;
    assert_eq!((status, &answer["data"]), (200, &json!([])));
}
