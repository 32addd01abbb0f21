//! A Redis belongs to one shop (K11).

use std::collections::BTreeSet;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use rocketmart_harness::backing::{Redis, RedisCluster, RedisGroup};
use rocketmart_stock::{ClusterNodes, LoadOutcome, SentinelGroup, Server, Stock, StockError, Trusted};
use tokio::task::JoinSet;

use crate::support::{TEA, item, spec};

fn of_shop(redis: &Redis, shop: &str) -> Stock {
    Stock::of_shop(&Server::Url(redis.url(), Trusted::Public), shop).unwrap()
}

fn refused(owner: &str, shop: &str) -> Result<(), StockError> {
    Err(StockError::Unavailable(format!("this Redis belongs to the shop {owner}, and this is {shop}")))
}

async fn connection(redis: &Redis) -> MultiplexedConnection {
    redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

async fn until_it_answers(stock: &Stock) {
    while stock.session().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn k11_a_redis_belongs_to_the_first_shop_that_reaches_it_whatever_happens_to_its_data() {
    let mut redis = Redis::start().unwrap();
    let (first, second) = (of_shop(&redis, "mart/first"), of_shop(&redis, "mart/second"));
    first.ping().await.unwrap();
    let no = refused("mart/first", "mart/second");
    assert_eq!(second.ping().await, no);
    let sale = spec(vec![item(TEA, 10, None)]);
    assert_eq!(second.load(&sale).await.map(drop), no, "nothing is done there");
    assert_eq!(second.session().await.map(drop), no);

    redis.restart().unwrap();
    until_it_answers(&first).await;
    assert_eq!(second.ping().await, no, "after a restart");
    let _: () = redis::cmd("FLUSHALL").query_async(&mut connection(&redis).await).await.unwrap();
    assert_eq!(second.ping().await, no, "without a key");
    assert_eq!(first.load(&sale).await, Ok(LoadOutcome::Loaded));
    // A shop that was deleted and created again under the same name.
    assert_eq!(of_shop(&redis, "mart/first").counters(sale.id).await.unwrap().unwrap().items.len(), 1);
}

#[tokio::test]
async fn k11_a_redis_that_was_given_away_is_left_by_those_who_had_it() {
    let redis = Redis::start().unwrap();
    let (first, second) = (of_shop(&redis, "mart/first"), of_shop(&redis, "mart/second"));
    first.session().await.unwrap();
    let mut by_hand = redis::pipe();
    by_hand.cmd("FUNCTION").arg("DELETE").arg("rocketmart_shop");
    let _: ((),) = by_hand.query_async(&mut connection(&redis).await).await.unwrap();
    second.ping().await.unwrap();
    assert_eq!(first.session().await.map(drop), refused("mart/second", "mart/first"));
    assert_eq!(first.ping().await, refused("mart/second", "mart/first"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k11_of_many_shops_at_once_one_gets_the_redis() {
    let redis = Redis::start().unwrap();
    let mut tries = JoinSet::new();
    for shop in 0..20 {
        let stock = of_shop(&redis, &format!("mart/{}", shop % 10));
        tries.spawn(async move { (shop % 10, stock.ping().await) });
    }
    let answers = tries.join_all().await;
    let owners: BTreeSet<_> = answers.iter().filter(|(_, ping)| ping.is_ok()).map(|(shop, _)| shop).collect();
    assert_eq!(owners.len(), 1, "{answers:?}");
    assert_eq!(
        answers.iter().filter(|(_, ping)| ping.is_ok()).count(),
        2,
        "both processes of it: {answers:?}"
    );
}

#[tokio::test]
async fn k11_databases_of_one_server_may_belong_to_different_shops() {
    let redis = Redis::start().unwrap();
    let at = |db: &str, shop| {
        Stock::of_shop(&Server::Url(format!("{}/{db}", redis.url()), Trusted::Public), shop).unwrap()
    };
    at("0", "mart/first").ping().await.unwrap();
    at("1", "mart/second").ping().await.unwrap();
    assert_eq!(at("1", "mart/first").ping().await, refused("mart/second", "mart/first"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k11_a_new_master_belongs_to_the_shop_that_had_the_old_one() {
    let mut group = RedisGroup::start(2, 1).unwrap();
    let (sentinels, master) = (group.sentinels(), group.name().to_owned());
    let of_shop = |shop| {
        let server = SentinelGroup {
            sentinels: sentinels.clone(),
            master: master.clone(),
            username: None,
            password: None,
            sentinel_password: None,
            tls: None,
            min_replicas: 1,
        };
        Stock::of_shop(&Server::Sentinel(server), shop).unwrap()
    };
    let (first, second) = (of_shop("mart/first"), of_shop("mart/second"));
    let sale = spec(vec![item(TEA, 10, None)]);
    assert_eq!(first.load(&sale).await, Ok(LoadOutcome::Loaded));
    assert_eq!(second.ping().await, refused("mart/first", "mart/second"));
    group.servers[0].kill();
    group.wait_for_another_master(0).unwrap();
    until_it_answers(&first).await;
    assert_eq!(second.ping().await, refused("mart/first", "mart/second"));
}

#[tokio::test]
async fn k11_every_master_of_a_cluster_belongs_to_the_shop() {
    let cluster = RedisCluster::start(0).unwrap();
    let of_shop = |shop| {
        let nodes = ClusterNodes {
            addresses: cluster.addresses(),
            username: None,
            password: None,
            tls: None,
            min_replicas: 0,
        };
        Stock::of_shop(&Server::Cluster(nodes), shop).unwrap()
    };
    let (first, second) = (of_shop("mart/first"), of_shop("mart/second"));
    first.session().await.unwrap();
    assert_eq!(second.ping().await, refused("mart/first", "mart/second"));
    for _ in 0..12 {
        let sale = spec(vec![item(TEA, 10, None)]);
        assert_eq!(second.load(&sale).await.map(drop), refused("mart/first", "mart/second"));
        assert_eq!(first.load(&sale).await, Ok(LoadOutcome::Loaded));
    }
}
