//! A Shop behind Gateways, with the Gateway API's real `HTTPRoute`. The test plays the Gateways'
//! controller.

use std::time::Duration;

use k8s_openapi::api::{events::v1::Event, networking::v1::Ingress};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use rocketmart_crds::Shop;
use rocketmart_harness::prepare;
use rocketmart_operator::gateway_api::HttpRoute;
use serde_json::{Value, json};

use crate::cluster::{Cluster, brokers, condition, server, shop};

async fn behind(gateway: &str) -> Value {
    let mut shop = shop(&brokers().await);
    shop["spec"]["gateway"] = json!({ "parentRefs": [{ "name": gateway, "namespace": "edge" }] });
    shop
}

/// What the controller of the Gateway `public` says about the route as it is now.
async fn gateway_says(cluster: &Cluster, accepted: &str) {
    let routes: Api<HttpRoute> = cluster.api();
    let route = routes.get("rocket").await.unwrap();
    let condition = |kind: &str, status: &str| {
        json!({
            "type": kind, "status": status, "observedGeneration": route.metadata.generation,
            "reason": "NoMatchingListenerHostname", "message": "no listener for the host",
            "lastTransitionTime": "2030-01-01T00:00:00Z",
        })
    };
    let status = json!({ "status": { "parents": [{
        "parentRef": { "name": "public", "namespace": "edge" },
        "controllerName": "shop.example/gateways",
        "conditions": [condition("Accepted", accepted), condition("ResolvedRefs", "True")],
    }] } });
    routes.patch_status("rocket", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

async fn ingress(cluster: &Cluster) -> Option<Ingress> {
    cluster.api::<Ingress>().get_opt("rocket").await.unwrap()
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..300 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never: {what}");
}

fn not_ready(shop: &Shop, why: &str) -> bool {
    condition(shop, "Ready", "False").is_some_and(|message| message.contains(why))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_moves_from_its_ingress_to_a_gateway_and_back() {
    let cluster = Cluster::new("gateway").await;
    cluster.apply_secrets().await;
    let operator = cluster.operator().await;
    cluster.apply(shop(&brokers().await)).await.unwrap();
    cluster.shop_that("had its Deployments", |shop| not_ready(shop, "(0 of 1)")).await;
    cluster.let_deployments_be_ready().await;
    cluster.shop_that("got ready", |shop| condition(shop, "Ready", "True").is_some()).await;

    // The cluster lacks the kind. The shop says so, and the Ingress stays.
    cluster.apply(behind("public").await).await.unwrap();
    let stuck = cluster.shop_that("named the missing kind", |shop| not_ready(shop, "has no HTTPRoute")).await;
    assert!(condition(&stuck, "Degraded", "True").unwrap().contains("install the Gateway API's CRDs"));
    assert!(ingress(&cluster).await.is_some());

    // Somebody installs the kind while the operator runs.
    tokio::task::spawn_blocking(|| {
        let definition = prepare::http_route_definition().unwrap().display().to_string();
        server().kubectl(&["apply", "--server-side", "--filename", &definition]).unwrap();
    })
    .await
    .unwrap();
    let waiting = cluster
        .shop_that("waited for the Gateway", |shop| not_ready(shop, "waiting for Gateway edge/public"))
        .await;
    assert!(condition(&waiting, "RouteAccepted", "False").is_some());
    assert!(condition(&waiting, "Degraded", "False").is_some());
    assert!(ingress(&cluster).await.is_some(), "buyers still come through it");
    let route = cluster.api::<HttpRoute>().get("rocket").await.unwrap();
    assert_eq!(route.owner_references()[0].uid, waiting.uid().unwrap());
    assert_eq!(route.spec.hostnames, ["shop.example"]);

    gateway_says(&cluster, "False").await;
    let refused =
        cluster.shop_that("named the refusal", |shop| not_ready(shop, "does not take the route")).await;
    let message = condition(&refused, "Degraded", "True").unwrap();
    assert!(
        message.contains("Gateway edge/public") && message.contains("no listener for the host"),
        "{message}"
    );

    gateway_says(&cluster, "True").await;
    let ready = cluster.shop_that("got ready", |shop| condition(shop, "Ready", "True").is_some()).await;
    assert!(condition(&ready, "RouteAccepted", "True").is_some());
    until("the Ingress is gone", async || ingress(&cluster).await.is_none()).await;
    operator.stop().await;

    // A newly started operator writes nothing, and watches the route.
    let operator = cluster.operator().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(operator.writes(), 0);
    let routes = cluster.api::<HttpRoute>();
    let elsewhere = json!({ "spec": { "hostnames": ["elsewhere.example"] } });
    routes.patch("rocket", &PatchParams::default(), &Patch::Merge(&elsewhere)).await.unwrap();
    until("the drift is repaired and told", async || {
        let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
        routes.get("rocket").await.unwrap().spec.hostnames == ["shop.example"]
            && events.iter().any(|event| event.reason.as_deref() == Some("DriftRepaired"))
    })
    .await;

    cluster.apply(shop(&brokers().await)).await.unwrap();
    until("the Ingress is back and the route is gone", async || {
        ingress(&cluster).await.is_some() && routes.get_opt("rocket").await.unwrap().is_none()
    })
    .await;
    cluster
        .shop_that("said nothing of a route", |shop| {
            condition(shop, "Ready", "True").is_some()
                && ["True", "False"].iter().all(|status| condition(shop, "RouteAccepted", status).is_none())
        })
        .await;
    operator.stop().await;
}
