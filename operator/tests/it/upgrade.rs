//! The definitions grow with every version, and what was stored under the first ones stays valid.
//!
//! `first_definitions` holds the definitions as they were first installed. v1alpha1 is additive: fields may
//! have been added since, but none was removed, changed its type, or became required.

use std::{fs, path::Path, process::Command};

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use rocketmart_crds::{FlashSale, Phase, Shop, manifest};
use rocketmart_harness::{apiserver::ApiServer, prepare, process};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, brokers, condition, install_definitions, sale_condition, shop},
    market::{apply_token, launch, phase},
    order_service::{self, from_now},
};

pub const FIRST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/first_definitions");

/// What `later` refuses although `first` accepted it.
fn narrowed(first: &Value, later: &Value, path: &str, found: &mut Vec<String>) {
    let words =
        |schema: &Value, field: &str| -> Vec<Value> { schema[field].as_array().cloned().unwrap_or_default() };
    // Dropping a format accepts more than before.
    let other_format = first["format"] != later["format"] && !later["format"].is_null();
    if first["type"] != later["type"] || other_format {
        found.push(format!("{path} was {} and is {}", first["type"], later["type"]));
    }
    for field in words(later, "required") {
        if !words(first, "required").contains(&field) {
            found.push(format!("{path}.{field} is required"));
        }
    }
    for word in words(first, "enum") {
        if !words(later, "enum").contains(&word) {
            found.push(format!("{path} cannot be {word} any more"));
        }
    }
    for (name, field) in first["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match later["properties"].get(name) {
            Some(later) => narrowed(field, later, &path, found),
            None => found.push(format!("{path} is gone")),
        }
    }
    for inner in ["items", "additionalProperties"] {
        if first[inner].is_object() {
            narrowed(&first[inner], &later[inner], &format!("{path}[]"), found);
        }
    }
}

#[test]
fn the_definitions_have_only_grown_since_the_first_ones() {
    let schema = |definition: &Value| definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    let mut found = Vec::new();
    for definition in manifest::definitions() {
        let names = &definition.spec.names;
        let first = std::fs::read_to_string(format!("{FIRST}/{}.yaml", names.plural)).unwrap();
        let first: Value = serde_norway::from_str(&first).unwrap();
        let later = serde_json::to_value(&definition).unwrap();
        assert_eq!(first["spec"]["versions"][0]["name"], later["spec"]["versions"][0]["name"]);
        narrowed(&schema(&first), &schema(&later), &names.kind, &mut found);
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The namespace `upgraded` on an API server that has the first definitions.
async fn first_installed() -> (Cluster, ApiServer) {
    Cluster::with_definitions_of_its_own("upgraded", |server| {
        server.kubectl(&["apply", "--server-side", "--filename", FIRST]).unwrap();
        server.kubectl(&["wait", "--for=condition=Established", "crd", "--all"]).unwrap();
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_the_first_definitions_are_read_and_reconciled_after_the_upgrade() {
    let ((cluster, server), service) = tokio::join!(first_installed(), order_service::Shop::open());
    cluster.apply_secrets().await;
    apply_token(&cluster).await;
    let mut declared = shop(&brokers().await);
    declared["spec"]["kafka"]["partitions"] = json!(1);
    cluster.apply(declared).await.unwrap();
    let mut sale = launch(5, 3_600, 5);
    cluster.apply(sale.clone()).await.unwrap();
    let mut over = launch(-7_200, 3_600, 5);
    over["metadata"]["name"] = json!("last-year");
    cluster.apply(over).await.unwrap();
    // As an operator of that time left it.
    let ended = json!({ "status": {
        "phase": "Closed", "observedGeneration": 1, "fence": 1_000_001,
        "items": [{ "sku": "MUG", "preloaded": 5, "remaining": 5, "reserved": 0, "sold": 0 }],
        "totals": { "units": 5, "preloaded": 5, "remaining": 5, "reserved": 0, "sold": 0 },
        "phaseTimes": [{ "phase": "Closed", "at": "2026-01-01T00:00:00Z" }],
        "report": {
            "matched": 0, "orders": { "paid": 0, "expired": 0, "cancelled": 0, "paymentFailed": 0 },
            "closedOutAt": "2026-01-01T00:00:00Z",
        },
    } });
    let status = kube::api::Patch::Merge(&ended);
    let sales = cluster.api::<FlashSale>();
    sales.patch_status("last-year", &kube::api::PatchParams::default(), &status).await.unwrap();

    // As the chart's README says.
    let server = tokio::task::spawn_blocking(move || {
        install_definitions(&server);
        server
    })
    .await
    .unwrap();
    for sale in sales.list(&ListParams::default()).await.unwrap() {
        assert_eq!(sale.metadata.generation, Some(1), "an upgrade is no change");
    }
    assert_eq!(cluster.api::<Shop>().list(&ListParams::default()).await.unwrap().items.len(), 1);
    assert_eq!(phase(&sales.get("last-year").await.unwrap()), Some(Phase::Closed));

    let operators =
        [cluster.operator_as_administrator(), cluster.sales_operator_as_administrator(&service.api)];
    cluster
        .shop_that("had all its Deployments", |shop| {
            condition(shop, "Ready", "False")
                .is_some_and(|why| why.contains("(0 of 1)") && !why.contains("not made yet"))
        })
        .await;
    let deployments = cluster.api::<Deployment>().list(&ListParams::default()).await.unwrap();
    assert_eq!(deployments.items.len(), 10);
    cluster.sale_that("launch", "was open", |sale| phase(sale) == Some(Phase::Open)).await;
    // Under today's rules.
    sale["spec"]["closesAt"] = json!(from_now(7_200));
    cluster.apply(sale).await.unwrap();
    let generation = |sale: &FlashSale| sale.status.as_ref().and_then(|status| status.observed_generation);
    let grown =
        |sale: &FlashSale| generation(sale) == Some(2) && sale_condition(sale, "Ready", "True").is_some();
    cluster.sale_that("launch", "has a longer window", grown).await;
    for operator in operators {
        operator.stop().await;
    }
    drop(server);
}

/// The command that a document gives for installing the definitions, exactly as written.
fn documented(document: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document)).unwrap();
    let command = text.lines().map(str::trim).find(|line| line.starts_with("kubectl apply ")).unwrap();
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").display().to_string();
    let words = command.split_whitespace().skip(1);
    words.map(|word| word.replace("charts/rocketmart", &format!("{checkout}/charts/rocketmart"))).collect()
}

/// The chart with the definitions that were published first.
fn first_chart() -> std::path::PathBuf {
    let chart = process::scratch("first-chart").unwrap();
    let now = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/rocketmart");
    assert!(Command::new("cp").arg("-r").arg(now.join(".")).arg(&chart).status().unwrap().success());
    for definitions in ["shops.yaml", "flashsales.yaml"] {
        fs::copy(Path::new(FIRST).join(definitions), chart.join("crds").join(definitions)).unwrap();
    }
    chart
}

#[test]
fn k13_the_definitions_that_helm_installed_are_upgraded_as_the_documents_say() {
    let server = ApiServer::start().unwrap();
    let helm = |arguments: &[&str]| {
        let kubeconfig = server.kubeconfig().display().to_string();
        let flags = ["--namespace", "rocketmart-system", "--create-namespace", "--kubeconfig", &kubeconfig];
        let output = Command::new(prepare::helm().unwrap()).args(arguments).args(flags).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let (first, now) = (first_chart(), Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/rocketmart"));
    helm(&["install", "rocketmart", &first.display().to_string()]);
    let ours = documented("charts/rocketmart/README.md");
    assert_eq!(documented("charts/rocketmart/templates/NOTES.txt"), ours);
    let ours: Vec<_> = ours.iter().map(String::as_str).collect();
    server.kubectl(&ours).unwrap();
    helm(&["upgrade", "rocketmart", &now.display().to_string()]);
    let get = ["get", "crd", "shops.rocketmart.dev", "--output=json"];
    let installed: Value = serde_json::from_str(&server.kubectl(&get).unwrap()).unwrap();
    let [definition, _] = manifest::definitions();
    let definition = serde_json::to_value(&definition).unwrap();
    let rules = |crd: &Value| {
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"].clone()
    };
    assert_eq!(rules(&installed), rules(&definition));
    // And again, before the next upgrade.
    server.kubectl(&ours).unwrap();
    fs::remove_dir_all(first).unwrap();
}
