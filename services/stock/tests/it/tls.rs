//! Redis behind TLS.

use rocketmart_harness::backing::Redis;
use rocketmart_stock::{Server, Stock, StockError, Trusted};

fn connect(redis: &Redis, scheme: &str, trusted: Trusted) -> Stock {
    // As every process of ours does at its start; one test is the first.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
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

#[test]
fn a_file_that_holds_no_certificates_or_is_for_an_address_in_the_clear_is_an_error_at_once() {
    for (scheme, file) in [("rediss", "nothing"), ("redis", "-----BEGIN CERTIFICATE-----")] {
        let server = Server::Url(format!("{scheme}://127.0.0.1:1"), Trusted::Only(file.into()));
        assert!(matches!(Stock::connect_to(&server), Err(StockError::Unavailable(_))), "{scheme}");
    }
}
