//! Sales on a cluster of Redis, each on one of its masters.

use rocketmart_harness::backing::RedisCluster;
use rocketmart_order::StockConfig;
use serde_json::json;
use uuid::Uuid;

use crate::failover::rebuild;
use crate::rebuild::closed;
use crate::shop::Shop;

const LIST: &str = "rm:sales";

fn master_of(cluster: &RedisCluster, key: &str) -> usize {
    cluster.master_of(key, 0).unwrap().unwrap()
}

/// A sale of three mugs, either on the master that lists the sales or beside it.
async fn sale_beside_the_list(shop: &Shop, cluster: &RedisCluster, beside: bool) -> Uuid {
    loop {
        let sale = shop.open_sale(3).await;
        let key = format!("rm:{{{sale}}}:sale");
        if (master_of(cluster, &key) == master_of(cluster, LIST)) == beside {
            return sale;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_are_sold_paid_and_closed_and_a_master_that_lost_everything_takes_only_its_own_with_it() {
    let mut cluster = tokio::task::spawn_blocking(|| RedisCluster::start(0).unwrap()).await.unwrap();
    let redis = StockConfig { redis_cluster: cluster.addresses(), ..StockConfig::default() };
    let shop = Shop::open_on_redis(redis).await;
    let lost = sale_beside_the_list(&shop, &cluster, true).await;
    let other = sale_beside_the_list(&shop, &cluster, false).await;
    let buyer = shop.buyer();
    let paid = shop.buy_and_pay(&buyer, lost).await;
    shop.buy_and_pay(&shop.buyer(), other).await;

    let node = master_of(&cluster, LIST);
    cluster.nodes[node].kill();
    shop.buy_and_pay(&shop.buyer(), other).await;
    // The master comes back without its list. What is sold elsewhere still gets into the books.
    cluster.nodes[node].restart_empty().unwrap();
    shop.buy_and_pay(&shop.buyer(), other).await;
    let rebuilt = rebuild(&shop, lost).await;
    assert_eq!(rebuilt["orders"], 1, "{rebuilt}");
    assert_eq!(buyer.purchase(lost, 1, "k").await.1["id"], paid["id"], "the same key, the same order");
    shop.buy_and_pay(&shop.buyer(), lost).await;
    for (sale, paid) in [(lost, 2), (other, 3)] {
        let orders = json!({ "paid": paid, "expired": 0, "cancelled": 0, "payment_failed": 0 });
        assert_eq!(closed(&shop, sale).await["orders"], orders);
    }
}
