//! What several of these tests need: a shop of their own on the shared servers, a handler that remembers, and
//! a way to wait until something becomes true.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use clap::Parser;
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Message};
use rocketmart_harness::backing::shared;
use rocketmart_kit::config::{AuthConfig, DatabaseConfig, KafkaConfig, ListenConfig};
use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::{Delivery, HandleError, Handler, TopicSpec, create_topics};
use rocketmart_kit::{idempotency, outbox};
use sqlx::{Executor, PgPool};
use uuid::Uuid;

/// A shop on the shared broker: a prefix nobody else has.
pub(crate) async fn shop() -> KafkaConfig {
    shop_on(tokio::task::spawn_blocking(|| shared::brokers().unwrap()).await.unwrap())
}

pub(crate) fn shop_on(kafka_brokers: String) -> KafkaConfig {
    KafkaConfig::open(kafka_brokers, format!("{}.", Uuid::now_v7().simple()))
}

pub(crate) async fn create_topic(shop: &KafkaConfig, name: &str, partitions: i32) {
    create_topics(shop, &[TopicSpec { name, partitions, compacted: false }]).await.unwrap();
}

/// A database with the kit's tables.
pub(crate) async fn database() -> PgPool {
    let url = tokio::task::spawn_blocking(|| shared::create_database("kit").unwrap());
    let config =
        DatabaseConfig { database_url: url.await.unwrap(), database_max_connections: 8, shop_id: None };
    let pool = config.connect().await.unwrap();
    pool.execute(outbox::SCHEMA).await.unwrap();
    pool.execute(idempotency::SCHEMA).await.unwrap();
    pool
}

pub(crate) fn any_port() -> ListenConfig {
    ListenConfig { listen: ([127, 0, 0, 1], 0).into(), admin_listen: ([127, 0, 0, 1], 0).into() }
}

pub(crate) fn auth_config() -> AuthConfig {
    #[derive(Parser)]
    struct Defaults {
        #[command(flatten)]
        auth: AuthConfig,
    }
    Defaults::parse_from(["test"]).auth
}

pub(crate) fn event(key: &str, n: u32) -> Event {
    Event::new("/rocketmart/test", "rocketmart.test.counted.v1", key, &n)
}

pub(crate) fn events(key: &str, numbers: std::ops::Range<u32>) -> Vec<Event> {
    numbers.map(|n| event(key, n)).collect()
}

/// Remembers what it received; `refuse` may turn a batch down first.
pub(crate) struct Recorder<F> {
    handled: Mutex<Vec<Delivery>>,
    refuse: F,
}

impl Recorder<fn(&[Delivery]) -> Option<HandleError>> {
    pub(crate) fn willing() -> Self {
        Self::new(|_| None)
    }
}

impl<F: Fn(&[Delivery]) -> Option<HandleError>> Recorder<F> {
    pub(crate) fn new(refuse: F) -> Self {
        Self { handled: Mutex::default(), refuse }
    }

    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.deliveries().iter().map(|delivery| delivery.event.parse().unwrap()).collect()
    }

    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.handled.lock().unwrap().clone()
    }
}

#[async_trait]
impl<F: Fn(&[Delivery]) -> Option<HandleError> + Send + Sync> Handler for Recorder<F> {
    async fn handle(&self, batch: &[Delivery]) -> Result<(), HandleError> {
        if let Some(error) = (self.refuse)(batch) {
            Err(error)
        } else {
            self.handled.lock().unwrap().extend_from_slice(batch);
            Ok(())
        }
    }
}

/// Waits until `condition` holds; fails the test after a minute.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    for _ in 0..1_200 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

/// A message as it lies in a topic.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Raw {
    pub(crate) fn header(&self, name: &str) -> &str {
        &self.headers.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no header {name}")).1
    }
}

/// The first `count` messages of a topic.
pub(crate) async fn raw_messages(shop: &KafkaConfig, topic: &str, count: usize) -> Vec<Raw> {
    raw_until(shop, topic, |messages| messages.len() >= count).await
}

/// The first messages of a topic, until they are `enough`, read without the kit.
pub(crate) async fn raw_until(
    shop: &KafkaConfig,
    topic: &str,
    mut enough: impl FnMut(&[Raw]) -> bool,
) -> Vec<Raw> {
    use rdkafka::consumer::{Consumer, StreamConsumer};
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", &shop.kafka_brokers)
        .set("group.id", Uuid::now_v7().to_string())
        .set("auto.offset.reset", "earliest")
        .set("topic.metadata.refresh.interval.ms", "500")
        .create()
        .unwrap();
    consumer.subscribe(&[&shop.topic(topic)]).unwrap();
    let mut messages = Vec::new();
    while !enough(&messages) {
        let received = tokio::time::timeout(Duration::from_secs(30), consumer.recv()).await;
        let Ok(message) = received.unwrap_or_else(|_| panic!("{} in {topic}", messages.len())) else {
            continue;
        };
        let headers = message.headers().map(|headers| {
            let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
            headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
        });
        messages.push(Raw {
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
        });
    }
    messages
}

/// Writes a message that is not one of our events.
pub(crate) async fn send_raw(shop: &KafkaConfig, topic: &str, key: &str, payload: &str) {
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", &shop.kafka_brokers).create().unwrap();
    let topic = shop.topic(topic);
    let headers = OwnedHeaders::new().insert(Header { key: "from", value: Some("elsewhere") });
    let record = FutureRecord::to(&topic).key(key).payload(payload).headers(headers);
    producer.send(record, Duration::from_secs(10)).await.unwrap();
}
