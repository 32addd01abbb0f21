//! What the autoscaler writes into a Shop's status, and what it removes again.

use std::time::Duration;

use k8s_openapi::{
    api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::api::{Patch, PatchParams, PostParams};
use rocketmart_crds::{Shop, shop::AutoscalingStatus};
use rocketmart_operator::controllers;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{Cluster, brokers, shop},
    shop::ready,
};

/// All controllers and the autoscaler.
struct Everything(CancellationToken, JoinHandle<()>);

impl Everything {
    fn start(cluster: &Cluster) -> Self {
        let context = cluster.context(cluster.client.clone(), "http://nowhere", 1);
        let stop = CancellationToken::new();
        Self(stop.clone(), tokio::spawn(controllers::run(context, stop)))
    }

    async fn stop(self) {
        self.0.cancel();
        self.1.await.unwrap();
    }
}

/// The decision about the order-worker.
fn decided(shop: &Shop) -> Option<&AutoscalingStatus> {
    let status = shop.status.as_ref()?;
    status.components.iter().find(|component| component.name == "order-worker")?.autoscaling.as_ref()
}

fn last_scale(shop: &Shop) -> Option<Time> {
    decided(shop)?.last_scale_time.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn k15_when_a_component_was_scaled_outlives_the_operator_and_no_decision_outlives_its_reason() {
    let cluster = Cluster::new("decisions").await;
    let everything = Everything::start(&cluster);
    ready(&cluster).await;
    // K4, W3: nothing was ever sold.
    let idle = |shop: &Shop| decided(shop).is_some_and(|it| (it.lag, it.replicas) == (Some(0), 1));
    cluster.shop_that("was idle at its minimum", idle).await;

    let held =
        json!({ "metadata": { "annotations": { "autoscaling.rocketmart.dev/paused-replicas": "2" } } });
    let deployments = cluster.api::<Deployment>();
    deployments.patch("rocket-order-worker", &PatchParams::default(), &Patch::Merge(&held)).await.unwrap();
    let scaled = cluster.shop_that("was scaled", |shop| last_scale(shop).is_some()).await;
    everything.stop().await;
    let everything = Everything::start(&cluster);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(last_scale(&cluster.api::<Shop>().get("rocket").await.unwrap()), last_scale(&scaled));

    let mut fixed = shop(&brokers().await);
    fixed["spec"]["components"]["order-worker"] = json!({ "replicas": 2 });
    cluster.apply(fixed).await.unwrap();
    cluster.shop_that("had no decision any more", |shop| decided(shop).is_none()).await;

    // K6: two owners of one number would fight.
    cluster.apply(shop(&brokers().await)).await.unwrap();
    cluster.shop_that("had one again", |shop| decided(shop).is_some()).await;
    let autoscaler: HorizontalPodAutoscaler = serde_json::from_value(json!({
        "metadata": { "name": "theirs" },
        "spec": {
            "maxReplicas": 5,
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "rocket-order-worker" },
        },
    }))
    .unwrap();
    cluster.api::<HorizontalPodAutoscaler>().create(&PostParams::default(), &autoscaler).await.unwrap();
    cluster.shop_that("left it to the user's", |shop| decided(shop).is_none()).await;
    everything.stop().await;
}
