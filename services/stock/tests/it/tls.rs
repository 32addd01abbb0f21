//! Redis behind TLS.

use rocketmart_harness::backing::{Redis, RedisCluster};
use rocketmart_stock::{ClusterNodes, Server, Stock, StockError, Trusted};

fn connect(redis: &Redis, scheme: &str, trusted: Trusted) -> Stock {
    let url = format!("{scheme}://127.0.0.1:{}", redis.port());
    Stock::connect_to(&Server::Url(url, trusted)).unwrap()
}

#[tokio::test]
async fn redis_is_spoken_to_by_tls_when_the_authority_that_signed_for_it_is_known() {
    let redis = Redis::start_with_tls().unwrap();
    let authority = Trusted::Only(std::fs::read(redis.authority()).unwrap());
    let stock = connect(&redis, "rediss", authority);
    stock.ping().await.unwrap();
    stock.session().await.unwrap();
    for scheme in ["rediss", "redis"] {
        let refused = connect(&redis, scheme, Trusted::Public).ping().await;
        assert!(matches!(&refused, Err(StockError::Unavailable(_))), "{scheme}: {refused:?}");
    }
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_refused() {
    let (redis, other) = (Redis::start_with_tls().unwrap(), Redis::start_with_tls().unwrap());
    let other = Trusted::Only(std::fs::read(other.authority()).unwrap());
    let refused = connect(&redis, "rediss", other).ping().await;
    assert!(matches!(&refused, Err(StockError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn every_master_of_a_cluster_is_spoken_to_by_tls() {
    let cluster = RedisCluster::start_with_tls().unwrap();
    let nodes = ClusterNodes {
        addresses: cluster.addresses()[..1].to_vec(),
        username: None,
        password: None,
        tls: Some(Trusted::Only(std::fs::read(cluster.authority().unwrap()).unwrap())),
        min_replicas: 0,
    };
    let stock = Stock::connect_to(&Server::Cluster(nodes)).unwrap();
    assert_eq!(stock.session().await.unwrap().len(), 3, "each master answers for itself");
}

#[test]
fn a_file_that_holds_no_certificates_or_is_for_an_address_in_the_clear_is_an_error_at_once() {
    for (scheme, file) in [("rediss", "nothing"), ("redis", "-----BEGIN CERTIFICATE-----")] {
        let server = Server::Url(format!("{scheme}://127.0.0.1:1"), Trusted::Only(file.into()));
        assert!(matches!(Stock::connect_to(&server), Err(StockError::Unavailable(_))), "{scheme}");
    }
}
