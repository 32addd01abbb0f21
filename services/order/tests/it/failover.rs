//! The master of Redis dies in mid-sale: a replica takes over, the sale is rebuilt, and the books hold.

use std::sync::Arc;

use rocketmart_harness::backing::RedisGroup;
use rocketmart_order::StockConfig;
use rocketmart_stock::SaleId;
use serde_json::Value;
use uuid::Uuid;

use crate::crowd::{Crowd, UNITS};
use crate::rebuild::{close_out, command};
use crate::shop::{Shop, eventually};

async fn start(replicas: usize) -> (RedisGroup, Shop) {
    let group = tokio::task::spawn_blocking(move || RedisGroup::start(replicas, 3).unwrap()).await.unwrap();
    let redis = StockConfig {
        redis_sentinels: group.sentinels(),
        redis_sentinel_master: Some(group.name().to_owned()),
        redis_min_replicas: 1,
        ..StockConfig::default()
    };
    let shop = Shop::open_on_redis(redis).await;
    (group, shop)
}

async fn another_master(group: RedisGroup) -> RedisGroup {
    let waiting =
        tokio::task::spawn_blocking(move || group.wait_for_another_master(0).map(|_| group).unwrap());
    waiting.await.unwrap()
}

/// Rebuilds as the operator does, retrying while the failover has not settled.
pub async fn rebuild(shop: &Shop, sale: Uuid) -> Value {
    let mut last = Value::Null;
    eventually("the sale is rebuilt and goes on", async || {
        last = command(shop, sale, "rebuild").await.1;
        last["rebuilt"].is_object()
            && last["verified"] == true
            && command(shop, sale, "resume").await.0 == 200
    })
    .await;
    last["rebuilt"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_killed_under_load_loses_no_purchase_that_was_answered_and_no_unit_is_sold_twice() {
    let (mut group, shop) = start(2).await;
    let shop = Arc::new(shop);
    let mut crowd = Crowd::gather(&shop).await;
    let sale = crowd.sale;
    crowd.until_booked(20).await;
    group.servers[0].kill();
    let _group = another_master(group).await;
    let rebuilt = rebuild(&shop, sale).await;
    assert!(rebuilt["reason"].as_str().unwrap().contains("took over"), "{rebuilt}");
    let served = crowd.until_all_is_sold().await;
    for (_, order) in &served {
        let id: Uuid = order["id"].as_str().unwrap().parse().unwrap();
        let state: Option<String> = sqlx::query_scalar("SELECT state FROM orders WHERE id = $1")
            .bind(id)
            .fetch_optional(&shop.backing.pool)
            .await
            .unwrap();
        assert!(matches!(state.as_deref(), Some("paid" | "expired")), "{id}: {state:?}");
    }
    assert!(served.len() >= 20, "{}", served.len());
    assert_eq!(close_out(&shop, sale).await["orders"]["paid"], UNITS);
    crowd.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_the_new_master_never_heard_of_is_there_again_after_the_rebuild() {
    let (mut group, shop) = start(2).await;
    let sale = shop.open_sale(5).await;
    // Only one replica hears of it, and that one goes down with the master.
    group.servers[2].signal("STOP").unwrap();
    let buyer = shop.buyer();
    let (status, order) = buyer.purchase(sale, 1, "k").await;
    assert_eq!(status, 201, "{order}");
    let id = order["id"].as_str().unwrap();
    shop.until_booked(id, "reserved").await;
    for lost in &mut group.servers[..2] {
        lost.kill();
    }
    group.servers[2].signal("CONT").unwrap();
    let mut group = another_master(group).await;
    // A replica that changes its role accepts writes.
    group.servers[0].restart_empty().unwrap();
    group.follow(0, 2).unwrap();

    rebuild(&shop, sale).await;
    assert_eq!(shop.backing.ledger().await, [5, 4, 1, 0]);
    assert_eq!(buyer.purchase(sale, 1, "k").await.1["id"], order["id"], "the same key, the same order");
    buyer.post(&format!("/api/v1/orders/{id}/cancel"), &serde_json::json!({})).await;
    close_out(&shop, sale).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_replaced_redis_goes_on_to_decide_does_not_reach_the_books() {
    let shop = Shop::open().await;
    let (replaced, sale) = (shop.open_sale(5).await, shop.open_sale(5).await);
    // The first sale was rebuilt elsewhere by now; this Redis has not heard of it.
    sqlx::query(
        "UPDATE sales SET incarnation = 1,
             void_until_ms = (extract(epoch FROM now()) * 1000)::bigint WHERE id = $1",
    )
    .bind(replaced)
    .execute(&shop.backing.pool)
    .await
    .unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    for from in [replaced, sale] {
        let (status, order) = shop.buyer().purchase(from, 1, "k").await;
        assert_eq!(status, 201, "{order}");
        if from == sale {
            shop.until_booked(order["id"].as_str().unwrap(), "reserved").await;
        }
    }
    let kept_back =
        shop.backing.stock.read_events(SaleId(replaced), "0", 10, std::time::Duration::ZERO).await;
    assert_eq!(kept_back.unwrap().len(), 1);
    assert_eq!(shop.backing.number("SELECT count(*) FROM orders").await, 1);
}
