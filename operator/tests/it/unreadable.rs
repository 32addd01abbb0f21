//! Objects that were stored before there were rules, and that nobody can read. Each is reported, goes when
//! it is deleted, and hides none of the others (K9, K10). One process runs everything, including the
//! autoscaler.

use std::time::Duration;

use rocketmart_crds::Phase;
use rocketmart_harness::apiserver::ApiServer;
use rocketmart_operator::controllers::flash_sale::FINALIZER;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, brokers, install_definitions, shop},
    market::{apply_token, launch, phase},
    order_service::{self, eventually},
    process::OperatorProcess,
    upgrade::FIRST,
};

/// Installs the definitions as they were at first, without any rule.
fn install_without_rules(server: &ApiServer) {
    for name in ["flashsales", "shops"] {
        let text = std::fs::read_to_string(format!("{FIRST}/{name}.yaml")).unwrap();
        let mut definition: Value = serde_norway::from_str(&text).unwrap();
        forget_rules(&mut definition);
        let file = std::env::temp_dir().join(format!("without-rules-{}-{name}.json", std::process::id()));
        std::fs::write(&file, definition.to_string()).unwrap();
        server.kubectl(&["apply", "--server-side", "--filename", &file.display().to_string()]).unwrap();
        std::fs::remove_file(file).unwrap();
    }
    server.kubectl(&["wait", "--for=condition=Established", "crd", "--all"]).unwrap();
}

fn forget_rules(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("x-kubernetes-validations");
            fields.values_mut().for_each(forget_rules);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_rules),
        _ => {}
    }
}

/// Runs kubectl on the test's API server.
async fn kubectl(server: ApiServer, words: String) -> (ApiServer, String) {
    let run = move || {
        let arguments: Vec<&str> = words.split(' ').collect();
        let said = server.kubectl(&arguments).unwrap();
        (server, said)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn sale(name: &str, field: &str, value: &str) -> Value {
    let mut sale = launch(3_600, 600, 1);
    sale["metadata"]["name"] = json!(name);
    sale["spec"][field] = json!(value);
    sale
}

/// Applies an object like a person who knows nothing about its type.
async fn store(server: ApiServer, namespace: &str, object: Value) -> ApiServer {
    let file = std::env::temp_dir().join(format!("odd-{}.json", std::process::id()));
    std::fs::write(&file, object.to_string()).unwrap();
    let words = format!("--namespace {namespace} create --filename {}", file.display());
    let (server, _) = kubectl(server, words).await;
    std::fs::remove_file(file).unwrap();
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_read_is_named_and_blinds_nobody_to_the_others() {
    let ((cluster, server), service) = tokio::join!(
        Cluster::with_definitions_of_its_own("unread", install_without_rules),
        order_service::Shop::open()
    );
    let mut far_away = sale("far-away", "closesAt", "9999-12-31T23:59:59Z");
    far_away["metadata"]["finalizers"] = json!([FINALIZER]);
    let mut odd = shop("nowhere:9092");
    odd["metadata"]["name"] = json!("odd");
    odd["spec"]["components"] = json!({ "orders": {} });
    let mut server = server;
    for object in [
        far_away,
        sale("too-exact", "closesAt", "2030-01-01T11:00:00.1234567890123Z"),
        sale("odd-shop", "shop", "rocket?x=1"),
        odd,
    ] {
        server = store(server, "unread", object).await;
    }
    let run = move || {
        install_definitions(&server);
        server
    };
    let mut server = tokio::task::spawn_blocking(run).await.unwrap();
    cluster.apply_secrets().await;
    let mut declared = shop(&brokers().await);
    declared["spec"]["kafka"]["partitions"] = json!(1);
    cluster.apply(declared).await.unwrap();

    let settings = [("ORDER_URL", service.api.as_str()), ("SETTLE_SECONDS", "3")];
    let operator = OperatorProcess::start(&server.kubeconfig(), "unread", "one", &settings);
    apply_token(&cluster).await;
    cluster.apply(launch(4, 600, 5)).await.unwrap();
    cluster.sale_that("launch", "was open", |sale| phase(sale) == Some(Phase::Open)).await;
    eventually("the autoscaler sees its shop", async || {
        let metrics = operator.metrics().await;
        metrics.contains("rocketmart_operator_desired_replicas{namespace=\"unread\",shop=\"rocket\"")
            // K15
            && metrics.contains("rocketmart_operator_sale_differences{namespace=\"unread\",sale=\"launch\"} 0")
    })
    .await;

    for (object, reason, field) in [
        ("flashsale/far-away", "Malformed", "spec.closesAt"),
        ("flashsale/too-exact", "Malformed", "spec.closesAt"),
        ("flashsale/odd-shop", "ShopNotFound", "spec.shop"),
        ("shop/odd", "Malformed", "spec.components"),
    ] {
        let ready = "{.status.conditions[?(@.type==\"Ready\")]}";
        let words = format!("--namespace unread get {object} --output=jsonpath={ready}");
        let (given_back, said) = kubectl(server, words).await;
        server = given_back;
        assert!(said.contains(reason) && said.contains(field), "{object}: {said}");
    }
    // It is reported once, however long it lasts.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let log = operator.log();
    assert_eq!(log.matches("cannot be read and is left alone").count(), 3, "{log}");
    assert!(!log.contains("was interrupted"), "{log}");
    assert!(log.len() < 64 * 1024, "{} bytes of log", log.len());

    for name in ["far-away", "too-exact", "odd-shop", "launch"] {
        let words = format!("--namespace unread delete flashsale {name} --timeout=60s");
        let (given_back, _) = kubectl(server, words).await;
        server = given_back;
    }
    // K15
    eventually("nothing is measured of a sale that is gone", async || {
        !operator.metrics().await.contains("sale=\"launch\"")
    })
    .await;
    operator.signal("TERM");
    assert!(operator.ends_well().await);
    drop(server);
}
