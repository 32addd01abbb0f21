//! `rocketmart dead-letters` on a running shop, as somebody on call uses it.

use std::process::{Command, Output};

use rocketmart_harness::programs;
use rocketmart_shop::{Shop, eventually, unique};
use serde_json::Value;

use crate::kafka;

const COMPONENT: &str = "order-worker";

/// Runs the command with the environment that a pod of the worker has.
async fn dead_letters(arguments: &[&str]) -> Output {
    let brokers = kafka::brokers().await;
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let run = tokio::task::spawn_blocking(move || {
        let program = programs::beside_this_one("rocketmart")?;
        let mut command = Command::new(program);
        command.arg("dead-letters").args(arguments).env("KAFKA_BROKERS", brokers);
        anyhow::Ok(command.output()?)
    });
    run.await.expect("no panic").expect("the command runs")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// The letters with this key, as `show` prints them.
async fn letters_of(key: &str) -> Vec<Value> {
    let shown = said(&dead_letters(&["show", "--component", COMPONENT, "--all"]).await);
    let all: Vec<Value> = serde_json::from_str(&shown).expect("JSON");
    all.into_iter().filter(|letter| letter["key"] == key).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_cannot_handle_is_listed_shown_and_sent_back_once() {
    let shop = Shop::open().await;
    let key = unique("nonsense");
    kafka::send_nonsense("deliveries", &key).await;
    let letter = eventually("it was parked", async || letters_of(&key).await.pop()).await;
    let id = letter["letter"].as_str().unwrap();
    assert_eq!((&letter["data"], &letter["origin"]["topic"]), (&"not an event".into(), &"deliveries".into()));
    assert_eq!(letter["error"], "header ce_specversion is missing");
    assert_eq!(letter["headers"]["nonsense"], "of a test");

    let is_listed = |list: &str| list.lines().any(|line| line.starts_with(&format!("{COMPONENT} {id} ")));
    assert!(is_listed(&said(&dead_letters(&["list"]).await)));
    let sent = said(&dead_letters(&["replay", "--component", COMPONENT, id]).await);
    assert_eq!(sent.trim(), format!("{id} sent to deliveries"));
    // Nothing was fixed, so it comes back, as a new letter beside the old one.
    let all = eventually("it was parked again", async || {
        let all = letters_of(&key).await;
        (all.len() == 2).then_some(all)
    })
    .await;
    assert!(all[0]["replayed_at"].is_string() && all[1]["replayed_at"].is_null(), "{all:?}");
    assert_eq!(all[1]["headers"]["replayed-from"], format!("{COMPONENT}.dead-letters/{id}"));
    assert!(!is_listed(&said(&dead_letters(&["list", "--component", COMPONENT]).await)));
    assert!(is_listed(&said(&dead_letters(&["list", "--all"]).await)));

    let again = dead_letters(&["replay", "--component", COMPONENT, id]).await;
    assert_eq!(said(&again), "", "it was sent back once");
    assert!(String::from_utf8_lossy(&again.stderr).contains("--again"));
    assert_eq!(letters_of(&key).await.len(), 2);
    let unknown = dead_letters(&["replay", "--component", COMPONENT, "0/123456789"]).await;
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("0/123456789"));
    // The worker has kept going meanwhile.
    let (buyer, sale) = (shop.buyer().await, shop.sale_of(1).await);
    shop.gets_a_unit(&buyer, &sale).await;
    shop.units_become(
        &sale,
        "the worker has booked it",
        rocketmart_shop::Units { remaining: 0, reserved: 1, sold: 0 },
    )
    .await;
}
