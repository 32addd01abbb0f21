//! A keyspace belongs to one shop (K11).

use std::net::SocketAddr;
use std::time::Duration;

use futures::{StreamExt, stream::FuturesUnordered};
use rocketmart_catalog::api::{self, Args};
use rocketmart_harness::ports;
use rocketmart_kit::auth::Verifier;
use rocketmart_kit::service::Service;
use scylla::client::session_builder::SessionBuilder;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::shop::{args_on_cassandra, shared_kafka};

/// Longer than it takes to get in when the keyspace is there.
const REFUSED: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_mins(1);

fn of_shop(args: &Args, shop: &str) -> Args {
    let mut args = args.clone();
    args.store.shop_id = Some(shop.to_owned());
    args
}

async fn service(args: &Args) -> anyhow::Result<Service> {
    let no_keys = serde_json::from_value(json!({ "keys": [] }))?;
    api::service(args, Verifier::from_jwks(&args.auth, &no_keys)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn k11_of_many_shops_at_once_one_gets_the_keyspace_and_the_others_say_whose_it_is() {
    let args = args_on_cassandra(shared_kafka().await).await;
    let shops = ["mart/a", "mart/b", "mart/c", "mart/a", "mart/b", "mart/c"];
    let mut tries: FuturesUnordered<_> = shops
        .map(|shop| {
            let args = of_shop(&args, shop);
            async move {
                service(&args).await.unwrap();
                shop
            }
        })
        .into_iter()
        .collect();
    let mut owners = vec![tries.next().await.unwrap(), tries.next().await.unwrap()];
    // The others keep waiting.
    owners.extend(timeout(REFUSED, tries.next()).await.ok().flatten());
    assert!(owners.len() == 2 && owners[0] == owners[1], "both processes of one: {owners:?}");
    let owner = owners[0];

    let mut other = of_shop(&args, "mart/other");
    other.listen.admin_listen = SocketAddr::from(([127, 0, 0, 1], ports::free_port().unwrap()));
    let admin = other.listen.admin_listen;
    let says = async |what: &str| {
        let said =
            async || reqwest::get(format!("http://{admin}/readyz")).await.ok()?.json::<Value>().await.ok();
        let mut last = None;
        let look = async {
            loop {
                last = said().await.map(|answer| answer.to_string());
                if last.as_ref().is_some_and(|last| last.contains(what)) {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(timeout(PATIENCE, look).await.is_ok(), "never {what}: {last:?}");
    };
    let looks = async {
        says(&format!("this keyspace belongs to the shop {owner}, and this is mart/other")).await;

        let cassandra = &args.store.cassandra;
        let session = SessionBuilder::new()
            .known_nodes(&cassandra.cassandra_contact_points)
            .use_keyspace(&cassandra.cassandra_keyspace, false);
        session.build().await.unwrap().query_unpaged("TRUNCATE rocketmart_shop", ()).await.unwrap();
        // Without signing keys.
        says("\"ready\":true").await;
    };
    tokio::select! {
        ended = Service::start(&other.listen, service(&other)) => panic!("it ended: {ended:?}"),
        () = looks => {}
    }
}
