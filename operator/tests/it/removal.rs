//! Removing everything, both as README.md says and in the wrong order, on the real API server (K12).

use kube::{ResourceExt, api::DeleteParams};
use rocketmart_crds::{FlashSale, Phase};
use rocketmart_harness::apiserver::ApiServer;
use rocketmart_operator::controllers::flash_sale::FINALIZER;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, sale_condition, shop},
    market::{Market, apply_token, launch, phase},
    order_service::{self, eventually, from_now},
};

async fn market(namespace: &str) -> (Market, ApiServer) {
    let ((cluster, server), service) =
        tokio::join!(Cluster::with_a_server_of_its_own(namespace), order_service::Shop::open());
    cluster.apply(shop("nowhere:9092")).await.unwrap();
    apply_token(&cluster).await;
    (Market { cluster, service }, server)
}

async fn until(market: &Market, name: &str, wanted: Phase) -> FlashSale {
    market.cluster.sale_that(name, &format!("was {wanted}"), |sale| phase(sale) == Some(wanted)).await
}

fn named(name: &str, mut sale: Value) -> Value {
    sale["metadata"]["name"] = json!(name);
    sale
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_or_was_never_loaded_can_be_deleted_when_no_operator_runs_any_more() {
    let (market, server) = market("operator-gone").await;
    let operator = market.cluster.sales_operator_as_administrator(&market.service.api);
    let mut closed = launch(3, 600, 5);
    market.apply(&closed).await.unwrap();
    market.apply(&named("far-off", launch(3_600, 600, 5))).await.unwrap();
    let mut refused = named("refused", launch(60, 600, 5));
    refused["spec"]["items"][0]["sku"] = json!("NO-SUCH-SKU");
    refused["spec"]["preloadLeadSeconds"] = json!(3_600);
    market.apply(&refused).await.unwrap();
    let mut missed = named("missed", launch(-7_200, 600, 5));
    missed["spec"]["closesAt"] = json!(from_now(-3_600));
    market.apply(&missed).await.unwrap();
    let mut called_off = named("called-off", launch(3_600, 600, 5));
    called_off["spec"]["closeEarly"] = json!(true);
    market.apply(&called_off).await.unwrap();

    let open = until(&market, "launch", Phase::Open).await;
    assert!(open.finalizers().iter().any(|finalizer| finalizer == FINALIZER), "it holds units");
    closed["spec"]["closeEarly"] = json!(true);
    market.apply(&closed).await.unwrap();
    for (name, wanted) in [
        ("launch", Phase::Closed),
        ("far-off", Phase::Scheduled),
        ("refused", Phase::Failed),
        ("missed", Phase::Failed),
        ("called-off", Phase::Cancelled),
    ] {
        until(&market, name, wanted).await;
        market.cluster.sale_that(name, "was let go", |sale| sale.finalizers().is_empty()).await;
    }
    operator.stop().await;
    let api = market.cluster.api::<FlashSale>();
    for name in ["launch", "far-off", "refused", "missed", "called-off"] {
        api.delete(name, &DeleteParams::default()).await.unwrap();
        assert!(api.get_opt(name).await.unwrap().is_none(), "{name} stays");
    }
    drop(server);
}

/// The commands in README.md's section.
fn documented() -> Vec<String> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let section = readme.split("## Uninstalling").nth(1).unwrap().split("\n## ").next().unwrap();
    let block = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    block.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_way_of_removing_everything_works_with_a_sale_that_is_open() {
    let (market, mut server) = market("uninstalled").await;
    let mut operator = Some(market.cluster.sales_operator_as_administrator(&market.service.api));
    market.apply(&launch(3, 600, 5)).await.unwrap();
    market.apply(&named("far-off", launch(3_600, 600, 5))).await.unwrap();
    market.until(Phase::Open).await;
    market.service.buy_and_pay(&market.service.buyer(), market.id().await).await;

    for command in documented() {
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        match words[0].as_str() {
            "kubectl" => {
                let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/rocketmart/crds/");
                let words = words[1..].iter().map(|word| word.replace("charts/rocketmart/crds/", folder));
                let words: Vec<String> = words.chain(["--timeout=60s".to_owned()]).collect();
                let run = move || {
                    let arguments: Vec<&str> = words.iter().map(String::as_str).collect();
                    let said = server.kubectl(&arguments);
                    (server, said)
                };
                let (given_back, said) = tokio::task::spawn_blocking(run).await.unwrap();
                server = given_back;
                said.unwrap();
            }
            // No Deployment here could run one.
            "helm" => operator.take().expect("uninstalled once").stop().await,
            other => panic!("{other} in {command}"),
        }
    }
    assert!(operator.is_none(), "the operator is never removed");
    assert_eq!(market.service.backing.standing().await, [99, 0], "what was not sold is back in stock");
    let run = move || server.kubectl(&["get", "crd", "--output=name"]).unwrap();
    let left = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(!left.contains("rocketmart.dev"), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_was_never_loaded_is_deleted_at_once_whatever_its_shop_is_called_or_does() {
    let market = Market::open("never-loaded").await;
    // Nobody listens there.
    let operator = market.cluster.sales_operator("http://127.0.0.1:1", 1).await;
    market.apply(&launch(3_600, 600, 5)).await.unwrap();
    market.apply(&named("due", launch(30, 600, 5))).await.unwrap();
    let mut elsewhere = named("elsewhere", launch(3_600, 600, 5));
    elsewhere["spec"]["shop"] = json!("no-such-shop");
    market.apply(&elsewhere).await.unwrap();
    let api = market.cluster.api::<FlashSale>();
    for name in ["launch", "due", "elsewhere"] {
        market
            .cluster
            .sale_that(name, "had trouble", |sale| sale_condition(sale, "Ready", "False").is_some())
            .await;
        api.delete(name, &DeleteParams::default()).await.unwrap();
        eventually("it is gone", async || api.get_opt(name).await.unwrap().is_none()).await;
    }
    operator.stop().await;
}
