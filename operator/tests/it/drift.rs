//! Tells what somebody changed by hand from what the API server only writes in other words (K3).

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap, events::v1::Event};
use kube::api::{ListParams, Patch, PatchParams};
use rocketmart_crds::Shop;
use serde_json::json;

use crate::{
    cluster::{Cluster, brokers, condition, shop},
    order_service::eventually,
    shop::ready,
};

/// How often the operator reported that it had set each object back.
async fn repairs(cluster: &Cluster) -> BTreeMap<String, i32> {
    let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
    let repairs = events.iter().filter(|event| event.reason.as_deref() == Some("DriftRepaired"));
    let told = repairs.map(|event| {
        let part = event.related.as_ref().unwrap();
        let times = event.series.as_ref().map_or(1, |series| series.count);
        (format!("{}/{}", part.kind.as_deref().unwrap(), part.name.as_deref().unwrap()), times)
    });
    told.collect()
}

async fn touch(cluster: &Cluster, times: usize) {
    for round in 0..times {
        let touch = json!({ "metadata": { "annotations": { "touched": round.to_string() } } });
        let shops = cluster.api::<Shop>();
        shops.patch("rocket", &PatchParams::default(), &Patch::Merge(&touch)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k3_what_the_api_server_writes_in_other_words_was_not_changed_by_hand() {
    let cluster = Cluster::new("other-words").await;
    let operator = cluster.operator().await;
    ready(&cluster).await;
    let mut declared = shop(&brokers().await);
    declared["spec"]["components"]["order"] = json!({
        "replicas": 2,
        "resources": { "requests": { "cpu": "0.5", "memory": "1e8" }, "limits": { "memory": "1024Mi" } },
        "env": [{ "name": "EMPTY", "value": "" }],
        "tolerations": [{ "key": "spot", "value": "" }],
        "affinity": { "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [],
        } },
    });
    cluster.apply(declared).await.unwrap();
    let deployments = cluster.api::<Deployment>();
    eventually("it has its memory", async || {
        let order = deployments.get("rocket-order").await.unwrap();
        let containers = order.spec.unwrap().template.spec.unwrap().containers;
        let limits = containers[0].resources.clone().unwrap().limits.unwrap();
        limits["memory"].0 == "1Gi"
    })
    .await;
    // Somebody adds a variable of their own. Nobody but them can remove it.
    let own = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "rocket-search" },
        "spec": { "template": { "spec": { "containers": [
            { "name": "search", "env": [{ "name": "OWN", "value": "1" }] },
        ] } } },
    });
    let by = PatchParams::apply("a-person");
    deployments.patch("rocket-search", &by, &Patch::Apply(&own)).await.unwrap();
    cluster.let_deployments_be_ready().await;
    cluster.shop_that("was ready", |shop| condition(shop, "Ready", "True").is_some()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let writes = operator.writes();
    touch(&cluster, 4).await;
    assert_eq!((operator.writes(), repairs(&cluster).await), (writes, BTreeMap::new()));
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k3_an_event_names_the_object_that_was_changed() {
    let cluster = Cluster::new("named-drift").await;
    let operator = cluster.operator().await;
    ready(&cluster).await;
    let configs = cluster.api::<ConfigMap>();
    let change = json!({ "data": { "KAFKA_BROKERS": "elsewhere:9092" } });
    for name in ["rocket-search", "rocket-catalog"] {
        configs.patch(name, &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    }
    let expected: BTreeMap<_, _> =
        ["rocket-catalog", "rocket-search"].map(|name| (format!("ConfigMap/{name}"), 1)).into();
    eventually("both are told by themselves", async || repairs(&cluster).await == expected).await;
    operator.stop().await;
}
