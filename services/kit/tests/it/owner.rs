//! A database belongs to one shop (K11).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use rocketmart_harness::ports;
use rocketmart_kit::config::{DatabaseConfig, ListenConfig};
use rocketmart_kit::service::Service;
use serde_json::Value;
use sqlx::{ConnectOptions, PgPool};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{database, eventually};

/// Longer than it takes to reach a database that we may use.
const REFUSED: Duration = Duration::from_secs(3);

/// How a process of this shop reaches the database.
fn of_shop(database: &PgPool, shop: Option<&str>) -> DatabaseConfig {
    let database_url = database.connect_options().to_url_lossy().into();
    DatabaseConfig { database_url, database_max_connections: 2, shop_id: shop.map(str::to_owned) }
}

async fn is_let_in(config: &DatabaseConfig) -> bool {
    timeout(REFUSED, config.connect()).await.is_ok_and(|pool| pool.is_ok())
}

#[tokio::test]
async fn k11_a_database_belongs_to_the_first_shop_and_one_without_a_name_claims_nothing() {
    let database = database().await;
    assert!(is_let_in(&of_shop(&database, None)).await);
    // As a shop of the previous version has left it: without a claim.
    for shop in ["mart/first", "mart/first"] {
        assert!(is_let_in(&of_shop(&database, Some(shop))).await, "{shop}");
    }
    assert!(!is_let_in(&of_shop(&database, Some("mart/second"))).await);
    assert!(is_let_in(&of_shop(&database, None)).await, "a test or a person");
}

#[tokio::test]
async fn k11_a_process_of_another_shop_says_whose_the_database_is_and_works_once_it_was_given_away() {
    let database = database().await;
    assert!(is_let_in(&of_shop(&database, Some("mart/first"))).await);
    let admin = SocketAddr::from(([127, 0, 0, 1], ports::free_port().unwrap()));
    let listen = ListenConfig { listen: ([127, 0, 0, 1], 0).into(), admin_listen: admin };
    let second = of_shop(&database, Some("mart/second"));
    let password = database.connect_options().to_url_lossy().password().map(str::to_owned);
    let starting = async {
        second.connect().await?;
        anyhow::Ok(Service::new("test", &listen))
    };
    let readyz =
        async || reqwest::get(format!("http://{admin}/readyz")).await.ok()?.json::<Value>().await.ok();
    let said = "this database belongs to the shop mart/first, and this is mart/second";
    let looks = async {
        eventually("both shops are named", async || {
            let answer = readyz().await.unwrap_or_default();
            let mut missing = answer["missing"].as_array().into_iter().flatten();
            missing.any(|it| {
                it["name"] == "postgresql" && it["reason"].as_str().is_some_and(|it| it.ends_with(said))
            })
        })
        .await;
        let answer = readyz().await.unwrap().to_string();
        assert!(!password.is_some_and(|it| !it.is_empty() && answer.contains(&it)), "{answer}");

        sqlx::query("DELETE FROM rocketmart_shop").execute(&database).await.unwrap();
        eventually("it is ready", async || readyz().await.is_some_and(|answer| answer["ready"] == true))
            .await;
        assert!(!is_let_in(&of_shop(&database, Some("mart/first"))).await);
    };
    tokio::select! {
        ended = Service::start(&listen, starting) => panic!("it ended: {ended:?}"),
        () = looks => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k11_of_many_shops_at_once_one_gets_the_database() {
    let database = database().await;
    let mut tries = JoinSet::new();
    for number in 0..12 {
        let shop = format!("mart/{}", number % 6);
        let config = of_shop(&database, Some(&shop));
        tries.spawn(async move { (shop, is_let_in(&config).await) });
    }
    let answers = tries.join_all().await;
    let owners: Vec<_> = answers.iter().filter(|(_, in_)| *in_).map(|(shop, _)| shop).collect();
    assert_eq!(owners.iter().collect::<BTreeSet<_>>().len(), 1, "{answers:?}");
    assert_eq!(owners.len(), 2, "both processes of it: {answers:?}");
}
