//! What `kubectl wait` and `kubectl get` say about a sale, in every phase that people wait in (K2).

use rocketmart_crds::{FlashSale, Phase};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, sale_condition, server},
    market::{Market, launch, phase},
    order_service::from_now,
};

async fn kubectl(arguments: Vec<String>) -> Option<String> {
    let run = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        server().kubectl(&arguments).ok()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Which of the conditions `kubectl wait` considers met.
async fn met(cluster: &Cluster, name: &str) -> Vec<&'static str> {
    let mut met = Vec::new();
    for condition in ["Ready", "Open", "Reconciled"] {
        let words = format!(
            "--namespace {} wait flashsale/{name} --for=condition={condition} --timeout=1s",
            cluster.namespace
        );
        if kubectl(words.split(' ').map(str::to_owned).collect()).await.is_some() {
            met.push(condition);
        }
    }
    met
}

/// Name, phase, readiness and reason as `kubectl get` prints them.
async fn row(cluster: &Cluster, name: &str) -> Vec<String> {
    let words = format!("--namespace {} get flashsale {name} --no-headers", cluster.namespace);
    let printed = kubectl(words.split(' ').map(str::to_owned).collect()).await.unwrap();
    printed.split_whitespace().skip(1).take(3).map(str::to_owned).collect()
}

async fn until(market: &Market, name: &str, wanted: Phase) -> FlashSale {
    market.cluster.sale_that(name, &format!("was {wanted}"), |sale| phase(sale) == Some(wanted)).await
}

fn named(name: &str, mut sale: Value) -> Value {
    sale["metadata"]["name"] = json!(name);
    sale
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_is_met_means_what_it_says() {
    let market = Market::open("waited-for").await;
    let cluster = &market.cluster;
    let operator = market.operator(1).await;
    let mut sale = launch(3_600, 600, 5);
    market.apply(&sale).await.unwrap();
    until(&market, "launch", Phase::Scheduled).await;
    assert_eq!(met(cluster, "launch").await, [""; 0]);
    assert_eq!(row(cluster, "launch").await, ["Scheduled", "False", "Scheduled"]);

    // A refused sale does not look like that.
    sale["spec"]["items"][0]["sku"] = json!("NO-SUCH-SKU");
    market.apply(&sale).await.unwrap();
    let refused = |sale: &FlashSale| {
        sale_condition(sale, "Ready", "False").is_some_and(|it| it.contains("no such SKU"))
    };
    cluster.sale_that("launch", "was refused", refused).await;
    assert_eq!(met(cluster, "launch").await, [""; 0]);
    assert_eq!(row(cluster, "launch").await, ["Scheduled", "False", "Refused"]);

    sale = launch(4, 600, 5);
    market.apply(&sale).await.unwrap();
    let opened = until(&market, "launch", Phase::Open).await;
    assert!(sale_condition(&opened, "Open", "True").is_some());
    assert_eq!(met(cluster, "launch").await, ["Ready", "Open"]);
    assert_eq!(row(cluster, "launch").await, ["Open", "True", "Open"]);

    sale["spec"]["suspend"] = json!(true);
    market.apply(&sale).await.unwrap();
    until(&market, "launch", Phase::Paused).await;
    assert_eq!(met(cluster, "launch").await, [""; 0]);
    assert_eq!(row(cluster, "launch").await, ["Paused", "False", "Paused"]);

    sale["spec"]["closeEarly"] = json!(true);
    market.apply(&sale).await.unwrap();
    until(&market, "launch", Phase::Closed).await;
    assert_eq!(met(cluster, "launch").await, ["Reconciled"]);
    assert_eq!(row(cluster, "launch").await, ["Closed", "False", "Closed"]);

    let mut called_off = named("called-off", launch(3_600, 600, 5));
    called_off["spec"]["closeEarly"] = json!(true);
    market.apply(&called_off).await.unwrap();
    until(&market, "called-off", Phase::Cancelled).await;
    assert_eq!(met(cluster, "called-off").await, ["Reconciled"]);
    assert_eq!(row(cluster, "called-off").await, ["Cancelled", "False", "Cancelled"]);

    let mut missed = named("missed", launch(-7_200, 600, 5));
    missed["spec"]["closesAt"] = json!(from_now(-3_600));
    market.apply(&missed).await.unwrap();
    until(&market, "missed", Phase::Failed).await;
    assert_eq!(met(cluster, "missed").await, [""; 0]);
    assert_eq!(row(cluster, "missed").await, ["Failed", "False", "WindowMissed"]);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_it_sells_is_unknown_while_its_order_service_is_away() {
    let market = Market::open("unknown-whether").await;
    let operator = market.operator(1).await;
    market.apply(&launch(2, 600, 5)).await.unwrap();
    market.until(Phase::Open).await;
    operator.stop().await;
    // Nobody listens there.
    let operator = market.cluster.sales_operator("http://127.0.0.1:1", 2).await;
    let unknown = |sale: &FlashSale| sale_condition(sale, "Open", "Unknown").is_some();
    let seen = market.cluster.sale_that("launch", "was out of sight", unknown).await;
    assert_eq!(phase(&seen), Some(Phase::Open));
    // K21
    let said = sale_condition(&seen, "Ready", "False").unwrap();
    assert!(said.contains("the order service at http://127.0.0.1:1 does not answer"), "{said}");
    operator.stop().await;
    let operator = market.operator(3).await;
    market
        .cluster
        .sale_that("launch", "was seen again", |sale| sale_condition(sale, "Open", "True").is_some())
        .await;
    operator.stop().await;
}
