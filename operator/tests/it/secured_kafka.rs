//! A Shop whose Kafka requires TLS and a log-in.

use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::api::ListParams;
use rocketmart_harness::backing::{Kafka, Secured};
use rocketmart_operator::{autoscaler::lag::Observer, kafka::Access};
use serde_json::json;

use crate::cluster::{Cluster, condition, shop};

async fn log_in(cluster: &Cluster, password: &str) {
    cluster
        .apply(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": "kafka" },
            "stringData": { "user": Secured::USER, "password": password },
        }))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_says_why_kafka_does_not_let_it_in_and_runs_once_it_does() {
    let kafka = tokio::task::spawn_blocking(|| Kafka::start_secured().unwrap()).await.unwrap();
    let secured = kafka.secured().unwrap();
    let cluster = Cluster::new("secured-kafka").await;
    cluster.apply_secrets().await;
    let operator = cluster.operator().await;
    let mut shop = shop(&secured.brokers());
    shop["spec"]["kafka"]["tls"] = json!({ "caSecretRef": { "name": "kafka-ca", "key": "ca.crt" } });
    shop["spec"]["kafka"]["sasl"] = json!({ "secretRef": { "name": "kafka" } });
    cluster.apply(shop).await.unwrap();
    let says = async |what: &str, words: &str| {
        let with = |shop: &rocketmart_crds::Shop| {
            condition(shop, "Degraded", "True").is_some_and(|message| message.contains(words))
        };
        cluster.shop_that(what, with).await
    };
    says("named the Secret of the log-in", "spec.kafka.sasl.secretRef: Secret `kafka` does not exist").await;
    log_in(&cluster, "guessed").await;
    says("named the Secret of the authority", "spec.kafka.tls.caSecretRef: Secret `kafka-ca` does not").await;
    cluster
        .apply(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": "kafka-ca" },
            "stringData": { "ca.crt": secured.certificate() },
        }))
        .await
        .unwrap();
    let refused = says("was refused", "SASL authentication error").await;
    let message = condition(&refused, "Ready", "False").unwrap();
    assert!(message.contains("no broker of") && !message.contains("guessed"), "{message}");
    assert!(cluster.api::<Deployment>().list(&ListParams::default()).await.unwrap().items.is_empty());

    log_in(&cluster, Secured::PASSWORD).await;
    let running = cluster
        .shop_that("had its Deployments", |shop| {
            condition(shop, "Ready", "False").is_some_and(|why| why.contains("(0 of 1)"))
        })
        .await;
    // The autoscaler gets in the same way.
    let (ca, log_in) = tokio::join!(secret(&cluster, "kafka-ca"), secret(&cluster, "kafka"));
    let access =
        Access::of(&running.spec.kafka, |name| Some(if name == "kafka" { &log_in } else { &ca })).unwrap();
    let topics = vec!["secured-kafka.rocket.orders".to_owned()];
    let observer = Observer::new(&access, "secured-kafka.rocket.payment-worker", topics).unwrap();
    let partitions = tokio::task::spawn_blocking(move || look(&observer)).await.unwrap();
    assert_eq!(partitions, 3);
    operator.stop().await;
}

/// How many partitions the group works on. A broker that was never asked about a group has no coordinator
/// for it yet. The autoscaler then asks again at its next look, and so does this.
fn look(observer: &Observer) -> usize {
    const LOOKS: usize = 60;
    let mut refused = None;
    for _ in 0..LOOKS {
        match observer.look() {
            Ok(partitions) => return partitions.len(),
            Err(error) => refused = Some(error),
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    panic!("Kafka does not tell how far the group is: {refused:?}");
}

async fn secret(cluster: &Cluster, name: &str) -> Secret {
    cluster.api().get(name).await.unwrap()
}
