//! The operator leaves alone objects that it did not create and autoscalers that it did not start.

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, ServiceAccount},
};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use rocketmart_crds::Shop;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, brokers, condition, shop},
    order_service::eventually,
    shop::ready,
};

#[tokio::test(flavor = "multi_thread")]
async fn k8_a_shop_called_default_takes_over_nothing_and_says_what_is_in_its_way() {
    let cluster = Cluster::new("called-default").await;
    let account: ServiceAccount =
        serde_json::from_value(json!({ "metadata": { "name": "default" } })).unwrap();
    let accounts = cluster.api::<ServiceAccount>();
    // A controller that does not run here creates it in every namespace.
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let operator = cluster.operator().await;
    cluster.apply_secrets().await;
    let mut declared = shop(&brokers().await);
    declared["metadata"]["name"] = json!("default");
    cluster.apply(declared).await.unwrap();
    let shops = cluster.api::<Shop>();
    eventually("the ServiceAccount is named", async || {
        let shop = shops.get("default").await.unwrap();
        condition(&shop, "Degraded", "True").is_some_and(|why| {
            why.starts_with("ServiceAccount default is not of this shop and is left alone")
        })
    })
    .await;
    let untouched = accounts.get("default").await.unwrap();
    assert!(untouched.owner_references().is_empty() && untouched.labels().is_empty(), "{untouched:?}");
    assert!(cluster.api::<Deployment>().list(&ListParams::default()).await.unwrap().items.is_empty());

    // The obstacle goes, and the shop comes up.
    accounts.delete("default", &DeleteParams::default()).await.unwrap();
    let deployments = cluster.api::<Deployment>();
    eventually("the shop is made", async || {
        deployments.list(&ListParams::default()).await.unwrap().items.len() == 10
    })
    .await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k8_not_even_an_object_with_the_labels_of_the_shop_is_taken_over() {
    let cluster = Cluster::new("labelled").await;
    let operator = cluster.operator().await;
    let theirs: ConfigMap = serde_json::from_value(json!({
        "metadata": { "name": "rocket-search", "labels": {
            "app.kubernetes.io/name": "rocketmart", "app.kubernetes.io/instance": "rocket",
            "app.kubernetes.io/managed-by": "rocketmart-operator",
        } },
        "data": { "theirs": "1" },
    }))
    .unwrap();
    cluster.api::<ConfigMap>().create(&PostParams::default(), &theirs).await.unwrap();
    cluster.apply_secrets().await;
    cluster.apply(shop(&brokers().await)).await.unwrap();
    let named = |shop: &Shop| {
        condition(shop, "Ready", "False")
            .is_some_and(|why| why.contains("ConfigMap rocket-search is not of this shop"))
    };
    cluster.shop_that("named it", named).await;
    let kept = cluster.api::<ConfigMap>().get("rocket-search").await.unwrap();
    assert_eq!(kept.data, theirs.data);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k6_the_replicas_of_an_autoscaler_of_the_users_are_left_alone() {
    let cluster = Cluster::new("users-autoscaler").await;
    let operator = cluster.operator().await;
    ready(&cluster).await;
    let autoscaler: HorizontalPodAutoscaler = serde_json::from_value(json!({
        "metadata": { "name": "rocket-catalog" },
        "spec": {
            "minReplicas": 3, "maxReplicas": 5,
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "rocket-catalog" },
        },
    }))
    .unwrap();
    cluster.api::<HorizontalPodAutoscaler>().create(&PostParams::default(), &autoscaler).await.unwrap();
    // As the autoscalers' controller does, which does not run here.
    let deployments = cluster.api::<Deployment>();
    let scale = json!({ "spec": { "replicas": 3 } });
    let by = PatchParams { field_manager: Some("kube-controller-manager".into()), ..PatchParams::default() };
    deployments.patch_scale("rocket-catalog", &by, &Patch::Merge(&scale)).await.unwrap();
    cluster.let_deployments_be_ready().await;
    let said = "HorizontalPodAutoscaler rocket-catalog sets the replicas of catalog";
    let told = |shop: &Shop| condition(shop, "Ready", "True").is_some_and(|all| all.contains(said));
    cluster.shop_that("said who scales", told).await;
    // Neither a regular look nor a change of the Deployment sets it back.
    let mut changed = shop(&brokers().await);
    changed["spec"]["image"] = json!("rocketmart:2");
    cluster.apply(changed).await.unwrap();
    let catalog = async || deployments.get("rocket-catalog").await.unwrap().spec.unwrap();
    eventually("the image changed", async || {
        catalog().await.template.spec.unwrap().containers[0].image.as_deref() == Some("rocketmart:2")
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(catalog().await.replicas, Some(3));

    // When it goes, the Shop's number counts again.
    let autoscalers = cluster.api::<HorizontalPodAutoscaler>();
    autoscalers.delete("rocket-catalog", &DeleteParams::default()).await.unwrap();
    let touch = json!({ "metadata": { "annotations": { "touched": "1" } } });
    cluster.api::<Shop>().patch("rocket", &PatchParams::default(), &Patch::Merge(&touch)).await.unwrap();
    eventually("it is one again", async || catalog().await.replicas == Some(1)).await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k18_a_component_without_replicas_is_told() {
    let cluster = Cluster::new("no-replicas").await;
    let operator = cluster.operator().await;
    ready(&cluster).await;
    let mut declared: Value = shop(&brokers().await);
    declared["spec"]["components"]["order"]["replicas"] = json!(0);
    cluster.apply(declared).await.unwrap();
    eventually("it is told", async || {
        cluster.let_deployments_be_ready().await;
        let shop = cluster.api::<Shop>().get("rocket").await.unwrap();
        let services = shop.status.as_ref().and_then(|status| status.services.clone());
        condition(&shop, "Ready", "False").as_deref() == Some("declared with 0 replicas: order")
            && services.as_deref() == Some("9/10")
    })
    .await;
    operator.stop().await;
}
