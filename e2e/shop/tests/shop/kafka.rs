//! The topics of the shared shop, as anyone with access to Kafka sees them.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use rocketmart_shop::stack;

const LIMIT: Duration = Duration::from_secs(30);

/// A message of a topic.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub topic: String,
    pub key: String,
    pub headers: BTreeMap<String, String>,
    pub payload: Option<Vec<u8>>,
}

pub(crate) async fn brokers() -> String {
    let brokers = || stack().expect("a shop on loopback").blocking_lock().backing.kafka.brokers();
    tokio::task::spawn_blocking(brokers).await.expect("no panic")
}

/// Writes a message that is not an event. A header tells those who check all messages.
pub(crate) async fn send_nonsense(topic: &str, key: &str) {
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", brokers().await).create().expect("a producer");
    let headers = OwnedHeaders::new().insert(Header { key: NONSENSE, value: Some("of a test") });
    let record = FutureRecord::to(topic).key(key).payload("not an event").headers(headers);
    producer.send(record, LIMIT).await.expect("Kafka has it");
}

const NONSENSE: &str = "nonsense";

/// Every message of these topics up to their present ends, without the nonsense.
pub(crate) async fn read(topics: &[&str]) -> Vec<Raw> {
    let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let brokers = brokers().await;
    tokio::task::spawn_blocking(move || read_from(&brokers, &topics)).await.expect("no panic")
}

fn read_from(brokers: &str, topics: &[String]) -> Vec<Raw> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "tests-of-events")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .expect("a consumer");
    let (mut assignment, mut unread) = (TopicPartitionList::new(), HashSet::new());
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), LIMIT).expect("a broker answers");
        for partition in metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions) {
            unread.insert((topic.clone(), partition.id()));
        }
    }
    for (topic, partition) in &unread {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&assignment).expect("an assignment");
    let mut messages = Vec::new();
    let mut ends = 0;
    while ends < unread.len() {
        match consumer.poll(LIMIT).expect("Kafka does not fall silent") {
            Ok(message) => messages.push(raw(&message)),
            Err(KafkaError::PartitionEOF(_)) => ends += 1,
            Err(error) => panic!("reading {topics:?}: {error}"),
        }
    }
    messages.retain(|message| !message.headers.contains_key(NONSENSE));
    messages
}

fn raw(message: &BorrowedMessage<'_>) -> Raw {
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Raw {
        topic: message.topic().to_owned(),
        key: text(message.key()),
        headers: headers.map(|header| (header.key.to_owned(), text(header.value))).collect(),
        payload: message.payload().map(<[u8]>::to_vec),
    }
}
