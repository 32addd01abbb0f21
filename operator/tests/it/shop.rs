//! A Shop, from its declaration to Ready, and what keeps it there.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount},
    events::v1::Event,
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use rocketmart_crds::Shop;
use rocketmart_operator::kafka::{Access, Cluster as Kafka};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::cluster::{Cluster, brokers, condition, shop};

/// Kind and name of every child, with its resource version, which every write changes.
async fn versions(cluster: &Cluster) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    collect::<ConfigMap>(cluster, &mut versions).await;
    collect::<Deployment>(cluster, &mut versions).await;
    collect::<Ingress>(cluster, &mut versions).await;
    collect::<NetworkPolicy>(cluster, &mut versions).await;
    collect::<PodDisruptionBudget>(cluster, &mut versions).await;
    collect::<Secret>(cluster, &mut versions).await;
    collect::<Service>(cluster, &mut versions).await;
    collect::<ServiceAccount>(cluster, &mut versions).await;
    versions
}

async fn collect<K>(cluster: &Cluster, versions: &mut BTreeMap<String, String>)
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    for object in cluster.api::<K>().list(&ListParams::default()).await.unwrap() {
        versions
            .insert(format!("{}/{}", K::kind(&()), object.name_any()), object.resource_version().unwrap());
    }
}

pub async fn ready(cluster: &Cluster) -> Shop {
    cluster.apply_secrets().await;
    cluster.apply(shop(&brokers().await)).await.unwrap();
    cluster
        .shop_that("had all its Deployments", |shop| {
            condition(shop, "Ready", "False")
                .is_some_and(|why| why.contains("(0 of 1)") && !why.contains("not made yet"))
        })
        .await;
    cluster.let_deployments_be_ready().await;
    cluster.shop_that("got ready", |shop| condition(shop, "Ready", "True").is_some()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_names_its_missing_secret_and_recovers_when_it_is_there() {
    let cluster = Cluster::new("missing-secret").await;
    let operator = cluster.operator().await;
    cluster.apply(shop(&brokers().await)).await.unwrap();
    let stuck = cluster.shop_that("was degraded", |shop| condition(shop, "Degraded", "True").is_some()).await;
    let message = condition(&stuck, "Ready", "False").unwrap();
    assert!(message.contains("spec.postgresql.secretRef: Secret `databases` does not exist"), "{message}");
    assert!(cluster.api::<Deployment>().list(&ListParams::default()).await.unwrap().items.is_empty());

    let ready = ready(&cluster).await;
    let status = ready.status.clone().unwrap();
    assert_eq!(status.services.as_deref(), Some("10/10"));
    assert_eq!(status.observed_generation, ready.metadata.generation);
    assert_eq!(status.version.as_deref(), Some("0.1.0"));
    assert_eq!(condition(&ready, "Degraded", "False").as_deref(), Some(""));
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_with_the_shops_partitions_and_grow_with_it() {
    let cluster = Cluster::new("topics").await;
    let operator = cluster.operator().await;
    ready(&cluster).await;
    let kafka = Kafka::connect(&Access::open(&brokers().await)).unwrap();
    topics_have(&kafka, 3).await;
    let mut larger = shop(&brokers().await);
    larger["spec"]["kafka"]["partitions"] = json!(5);
    cluster.apply(larger).await.unwrap();
    topics_have(&kafka, 5).await;
    operator.stop().await;
}

/// A broker learns about new topics and partitions a moment after the controller created them.
async fn topics_have(kafka: &Kafka, partitions: i32) {
    let names = ["deliveries", "orders", "payments", "products", "reservations", "stock-levels"];
    let dead_letters = ["order-worker", "payment-worker", "delivery-worker"];
    let dead_letters = dead_letters.map(|name| (format!("topics.rocket.{name}.dead-letters"), 1));
    let expected = names
        .map(|name| (format!("topics.rocket.{name}"), partitions))
        .into_iter()
        .chain(dead_letters)
        .collect();
    let mut topics = BTreeMap::new();
    for _ in 0..100 {
        topics = kafka.topics("topics.rocket.").await.unwrap();
        if topics == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the topics are {topics:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_answer_is_named_and_no_component_starts_without_its_topics() {
    let cluster = Cluster::new("no-broker").await;
    let operator = cluster.operator().await;
    cluster.apply_secrets().await;
    cluster.apply(shop("127.0.0.1:1")).await.unwrap();
    let stuck = cluster.shop_that("was degraded", |shop| condition(shop, "Degraded", "True").is_some()).await;
    let message = condition(&stuck, "Degraded", "True").unwrap();
    assert!(message.contains("no broker of `127.0.0.1:1` answers"), "{message}");
    assert!(cluster.api::<Deployment>().list(&ListParams::default()).await.unwrap().items.is_empty());
    ready(&cluster).await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_shop_costs_no_writes() {
    let cluster = Cluster::new("quiet").await;
    let operator = cluster.operator().await;
    ready(&cluster).await;
    // The Event about becoming ready is written after the status.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, writes) = (versions(&cluster).await, operator.writes());
    let status = cluster.api::<Shop>().get("rocket").await.unwrap().status;
    for round in 0..10 {
        let touch = json!({ "metadata": { "annotations": { "touched": round.to_string() } } });
        let api = cluster.api::<Shop>();
        api.patch("rocket", &PatchParams::default(), &Patch::Merge(&touch)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    assert_eq!(operator.writes(), writes);
    assert_eq!(versions(&cluster).await, before);
    assert_eq!(cluster.api::<Shop>().get("rocket").await.unwrap().status, status);

    // A newly started operator writes nothing either.
    operator.stop().await;
    let operator = cluster.operator().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(operator.writes(), 0);
    assert_eq!(versions(&cluster).await, before);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_or_deleted_by_hand_comes_back() {
    let cluster = Cluster::new("drift").await;
    let operator = cluster.operator().await;
    ready(&cluster).await;
    let configs = cluster.api::<ConfigMap>();
    let change = json!({ "data": { "KAFKA_BROKERS": "elsewhere:9092" } });
    configs.patch("rocket-search", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    cluster.api::<Service>().delete("rocket-order", &DeleteParams::default()).await.unwrap();

    let brokers = brokers().await;
    for _ in 0..200 {
        let config = configs.get("rocket-search").await.unwrap();
        let restored = config.data.unwrap()["KAFKA_BROKERS"] == brokers;
        let service = cluster.api::<Service>().get_opt("rocket-order").await.unwrap();
        let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
        let told = events.iter().any(|event| event.reason.as_deref() == Some("DriftRepaired"));
        if restored && service.is_some() && told {
            return operator.stop().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not repaired");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_of_the_shop_is_deleted_and_a_strangers_object_is_not() {
    let cluster = Cluster::new("orphans").await;
    let operator = cluster.operator().await;
    let shop = ready(&cluster).await;
    let configs = cluster.api::<ConfigMap>();
    let labels = configs.get("rocket-search").await.unwrap().metadata.labels;
    for (name, owners) in
        [("orphan", Some(vec![shop.controller_owner_ref(&()).unwrap()])), ("stranger", None)]
    {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.labels = labels.clone();
        object.metadata.owner_references = owners;
        configs.create(&PostParams::default(), &object).await.unwrap();
    }
    for _ in 0..100 {
        if configs.get_opt("orphan").await.unwrap().is_none() {
            assert!(configs.get_opt("stranger").await.unwrap().is_some());
            return operator.stop().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the orphan is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_replicas_of_an_autoscaled_component_are_the_autoscalers() {
    let cluster = Cluster::new("autoscaled").await;
    let operator = cluster.operator().await;
    ready(&cluster).await;
    let deployments = cluster.api::<Deployment>();
    let replicas = async || deployments.get("rocket-order-worker").await.unwrap().spec.unwrap().replicas;
    assert_eq!(replicas().await, Some(1));
    let scale = json!({ "spec": { "replicas": 3 } });
    let as_autoscaler = PatchParams { field_manager: Some("autoscaler".into()), ..PatchParams::default() };
    deployments.patch_scale("rocket-order-worker", &as_autoscaler, &Patch::Merge(&scale)).await.unwrap();

    // A change of the spec that rewrites the Deployment leaves the number alone.
    let mut changed = shop(&brokers().await);
    changed["spec"]["image"] = json!("rocketmart:2");
    cluster.apply(changed).await.unwrap();
    for _ in 0..100 {
        let worker = deployments.get("rocket-order-worker").await.unwrap();
        let image = worker.spec.unwrap().template.spec.unwrap().containers[0].image.clone();
        if image.as_deref() == Some("rocketmart:2") {
            assert_eq!(replicas().await, Some(3));
            return operator.stop().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the image did not change");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_shop_runs_nothing_and_keeps_its_keys() {
    let cluster = Cluster::new("suspended").await;
    let operator = cluster.operator().await;
    ready(&cluster).await;
    let keys = cluster.api::<Secret>().get("rocket-signing-key").await.unwrap();
    let mut suspended = shop(&brokers().await);
    suspended["spec"]["suspend"] = json!(true);
    cluster.apply(suspended).await.unwrap();
    cluster
        .shop_that("was suspended", |shop| {
            condition(shop, "Ready", "False").is_some_and(|message| message.contains("spec.suspend"))
        })
        .await;
    for deployment in cluster.api::<Deployment>().list(&ListParams::default()).await.unwrap() {
        assert_eq!(deployment.spec.unwrap().replicas, Some(0));
    }
    let kept = cluster.api::<Secret>().get("rocket-signing-key").await.unwrap();
    assert_eq!(kept.data, keys.data);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_fails_is_named_with_its_reason_until_it_recovers() {
    let cluster = Cluster::new("failing").await;
    let operator = cluster.operator().await;
    ready(&cluster).await;
    // What the kubelet would say about an image that does not exist.
    let deployments = cluster.api::<Deployment>();
    let template = deployments.get("rocket-order").await.unwrap().spec.unwrap().template;
    let mut pod = Pod { spec: template.spec, ..Pod::default() };
    pod.metadata.name = Some("rocket-order-1".to_owned());
    pod.metadata.labels = template.metadata.and_then(|metadata| metadata.labels);
    let pods = cluster.api::<Pod>();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let waiting = json!({ "reason": "ImagePullBackOff", "message": "no such image" });
    let stuck = json!({ "status": { "containerStatuses": [{
        "name": "order", "image": "rocketmart:gone", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "waiting": waiting },
    }] } });
    pods.patch_status("rocket-order-1", &PatchParams::default(), &Patch::Merge(&stuck)).await.unwrap();
    let down = json!({ "status": { "readyReplicas": 0, "availableReplicas": 0 } });
    deployments.patch_status("rocket-order", &PatchParams::default(), &Patch::Merge(&down)).await.unwrap();
    let failing = cluster
        .shop_that("named the Deployment", |shop| {
            condition(shop, "Degraded", "True").is_some_and(|why| why.contains("rocket-order"))
        })
        .await;
    let said = "Deployment rocket-order: pod rocket-order-1: ImagePullBackOff: no such image";
    assert_eq!(condition(&failing, "Ready", "False").as_deref(), Some(said));
    let told = async || {
        let events = cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
        events.iter().any(|event| event.reason.as_deref() == Some("DeploymentFailing"))
    };
    for _ in 0..100 {
        if told().await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(told().await);

    // Nobody touches the Shop.
    let gone = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    pods.delete("rocket-order-1", &gone).await.unwrap();
    cluster.let_deployments_be_ready().await;
    cluster.shop_that("recovered", |shop| condition(shop, "Ready", "True").is_some()).await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_the_api_server_refuses_is_named_and_holds_nothing_else_up() {
    let cluster = Cluster::new("refused").await;
    let operator = cluster.operator().await;
    cluster.apply_secrets().await;
    let mut asking_too_much = shop(&brokers().await);
    asking_too_much["spec"]["components"]["order"]["resources"] =
        json!({ "requests": { "cpu": "2" }, "limits": { "cpu": "1" } });
    cluster.apply(asking_too_much.clone()).await.unwrap();
    let degraded = |shop: &Shop| condition(shop, "Degraded", "True").is_some();
    let refused = cluster.shop_that("named the Deployment", degraded).await;
    let message = condition(&refused, "Ready", "False").unwrap();
    assert!(message.starts_with("Deployment rocket-order: the API server does not accept it:"), "{message}");
    assert!(message.contains("must be less than or equal to cpu limit"), "{message}");
    assert_eq!(refused.status.unwrap().observed_generation, refused.metadata.generation);
    let deployments = cluster.api::<Deployment>();
    let names: Vec<_> =
        deployments.list(&ListParams::default()).await.unwrap().iter().map(ResourceExt::name_any).collect();
    assert_eq!(names.len(), 9, "all but one: {names:?}");

    // In a running shop, what is refused stays as it was.
    ready(&cluster).await;
    cluster.apply(asking_too_much).await.unwrap();
    cluster.shop_that("was degraded again", degraded).await;
    assert_eq!(deployments.get("rocket-order").await.unwrap().status.unwrap().available_replicas, Some(2));
    cluster.apply(shop(&brokers().await)).await.unwrap();
    cluster.shop_that("recovered", |shop| condition(shop, "Ready", "True").is_some()).await;
    operator.stop().await;
}
