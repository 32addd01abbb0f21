//! Kafka as in production: over TLS, with a login.

use std::sync::{Arc, OnceLock};

use rocketmart_harness::backing::{Kafka, Secured};
use rocketmart_kit::config::{KafkaConfig, KafkaSecurity, SaslMechanism};
use rocketmart_kit::kafka::{
    Consumer, DeadLetterBox, FencedProducer, GroupProgress, Handler, read_all_then_follow,
};
use tokio_util::sync::CancellationToken;

use crate::support::{Recorder, create_topic, event, events, eventually, shop_on};

/// A shop of its own on a broker that both of these tests use.
async fn secured_shop(mechanism: SaslMechanism) -> KafkaConfig {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    let start = || KAFKA.get_or_init(|| Kafka::start_secured().unwrap()).secured().unwrap();
    let kafka = tokio::task::spawn_blocking(start).await.unwrap();
    KafkaConfig {
        kafka_security: KafkaSecurity {
            kafka_tls: true,
            kafka_tls_ca: Some(kafka.certificate().to_owned()),
            kafka_sasl_mechanism: Some(mechanism),
            kafka_sasl_user: Some(Secured::USER.to_owned()),
            kafka_sasl_password: Some(Secured::PASSWORD.to_owned()),
        },
        ..shop_on(kafka.brokers())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_logs_in_over_tls() {
    let shop = secured_shop(SaslMechanism::ScramSha512).await;
    create_topic(&shop, "facts", 2).await;
    let producer = shop.producer().unwrap();
    producer.send_all("facts", &events("order", 0..20)).await.unwrap();
    let fenced = FencedProducer::take_over(&shop, "publisher").await.unwrap();
    fenced.send_all("others", &[event("order", 20)]).await.unwrap();
    let progress = GroupProgress::new(&shop, "worker", &["facts"]).unwrap();
    let ends = progress.ends().await.unwrap();

    let (worker, reader) = (Arc::new(Recorder::willing()), Arc::new(Recorder::willing()));
    let stop = CancellationToken::new();
    let consumer = Consumer::new(&shop, "worker", &["facts"]);
    let joined = consumer.gate();
    let handler: Arc<dyn Handler> = worker.clone();
    let consuming = tokio::spawn(consumer.run(handler, stop.clone()));
    let reading = tokio::spawn({
        let (shop, handler, stop) = (shop.clone(), reader.clone(), stop.clone());
        async move { read_all_then_follow(&shop, "reader", "facts", handler, || {}, stop).await }
    });
    eventually("both have all of it", async || worker.numbers().len() == 20 && reader.numbers().len() == 20)
        .await;
    eventually("the consumer is ready", async || joined().await.is_ok()).await;
    eventually("all is committed", async || progress.behind(&ends).await.unwrap() == 0).await;
    assert!(DeadLetterBox::all(&shop).await.unwrap().is_empty());
    stop.cancel();
    consuming.await.unwrap().unwrap();
    reading.await.unwrap().unwrap();

    for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256] {
        secured_shop(mechanism).await.producer().unwrap().ready().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_refuses_us_or_is_not_trusted_says_why() {
    let mut forgetful = secured_shop(SaslMechanism::ScramSha512).await;
    forgetful.kafka_security.kafka_sasl_password = Some("guessed".to_owned());
    let mut distrustful = secured_shop(SaslMechanism::ScramSha512).await;
    distrustful.kafka_security.kafka_tls_ca = None;
    for (shop, why) in [(forgetful, "SASL authentication error"), (distrustful, "certificate verify failed")]
    {
        let producer = shop.producer().unwrap();
        eventually("the producer's gate says why", async || {
            producer.ready().await.is_err_and(|error| format!("{error:#}").contains(why))
        })
        .await;
        let letters = DeadLetterBox::all(&shop).await.unwrap_err();
        assert!(format!("{letters:#}").contains(why), "{letters:#}");

        let stop = CancellationToken::new();
        let consumer = Consumer::new(&shop, "worker", &["facts"]);
        let joined = consumer.gate();
        let handler: Arc<dyn Handler> = Arc::new(Recorder::willing());
        let consuming = tokio::spawn(consumer.run(handler, stop.clone()));
        eventually("the consumer's gate says why", async || {
            joined().await.is_err_and(|error| format!("{error:#}").contains(why))
        })
        .await;
        stop.cancel();
        consuming.await.unwrap().unwrap();
    }
}
