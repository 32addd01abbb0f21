//! How the index follows the topic.

use serde_json::json;

use crate::shop::{Shop, product};

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_found_soon_and_its_freshness_is_measured() {
    let shop = Shop::open().await;
    let search = shop.ready_search().await;
    assert!(search.titles(&[]).await.is_empty());

    let mut lamp = product("Desk lamp", 100);
    shop.announce(std::slice::from_ref(&lamp)).await;
    search.finds(&[("q", "lamp")], &["Desk lamp"]).await;
    lamp["title"] = json!("Floor lantern");
    shop.announce(std::slice::from_ref(&lamp)).await;
    search.finds(&[("q", "lantern")], &["Floor lantern"]).await;
    assert!(search.titles(&[("q", "lamp")]).await.is_empty(), "the version before is gone");

    lamp["state"] = json!("withdrawn");
    shop.announce(std::slice::from_ref(&lamp)).await;
    search.finds(&[], &[]).await;

    let (_, metrics) = search.admin("/metrics").await;
    assert!(metrics.contains("search_freshness_seconds_count"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sold_out_is_not_in_stock_and_what_came_back_is_s4() {
    let shop = Shop::open().await;
    let (lamp, desk) = (product("Lamp", 1), product("Desk", 2));
    shop.level(&lamp, 0, 10).await;
    shop.announce(&[lamp.clone(), desk.clone()]).await;
    let search = shop.ready_search().await;
    search.finds(&[("in_stock", "true"), ("sort", "price")], &["Desk"]).await;
    shop.level(&desk, 0, 11).await;
    search.finds(&[("in_stock", "true")], &[]).await;
    shop.level(&lamp, 1, 12).await;
    search.finds(&[("in_stock", "true")], &["Lamp"]).await;
    let page = search.page(&[("q", "desk")]).await;
    assert_eq!(page["data"][0]["in_stock"], false, "{page}");
    // A new replica learns the same from the topics alone.
    let another = shop.ready_search().await;
    another.finds(&[("in_stock", "true")], &["Lamp"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_removes_the_product() {
    let shop = Shop::open().await;
    let lamp = product("Desk lamp", 100);
    shop.announce(&[lamp.clone(), product("Desk", 200)]).await;
    let search = shop.ready_search().await;
    search.finds(&[("q", "desk"), ("sort", "price")], &["Desk lamp", "Desk"]).await;
    shop.delete(&lamp).await;
    search.finds(&[("q", "desk")], &["Desk"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_replica_builds_the_whole_index_from_the_topic_before_it_is_ready() {
    let shop = Shop::open().await;
    let mut products: Vec<_> = (0..2500).map(|n| product(&format!("Item {n}"), n + 1)).collect();
    products.push(product("Gone", 1));
    shop.announce(&products).await;
    shop.delete(products.last().unwrap()).await;

    for _restart in 0..2 {
        let search = shop.search().await;
        search.is_ready_soon().await;
        // Ready means complete, so there is no waiting here.
        assert_eq!(search.titles(&[("q", "2499")]).await, ["Item 2499"]);
        assert_eq!(search.titles(&[("sort", "price"), ("limit", "1")]).await, ["Item 0"]);
        assert!(search.titles(&[("q", "gone")]).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_topic_it_is_not_ready_and_says_so() {
    let mut shop = Shop::open().await;
    shop.kafka.kafka_brokers = "127.0.0.1:1".into();
    let search = shop.search().await;
    let (status, report) = search.admin("/readyz").await;
    assert_eq!(status, 503);
    assert!(report.contains("index"), "{report}");
    let (status, problem) = search.get(&[("q", "x")]).await;
    assert_eq!((status, &problem["code"]), (503, &json!("index-rebuilding")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_no_product_does_not_stop_the_feed() {
    let shop = Shop::open().await;
    shop.announce(&[product("Before", 1)]).await;
    shop.announce_nonsense().await;
    shop.announce(&[product("After", 2)]).await;
    let search = shop.ready_search().await;
    search.finds(&[("sort", "price")], &["Before", "After"]).await;
}
