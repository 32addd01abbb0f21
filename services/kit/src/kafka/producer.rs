//! Sends events and waits until the brokers have them.
//!
//! Within one [`Producer`] the events of a key keep their order: the producer is idempotent, and librdkafka
//! never gives up on a single message (a later one would overtake it). We give up here, on all of them at
//! once: a new producer replaces the old one, and the caller repeats. A receiver may then see events again,
//! but never a later one first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use futures::future::try_join_all;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _, PurgeConfig};

use super::recreated::Recreated;
use super::trouble::Trouble;
use super::{topics, wire};
use crate::config::KafkaConfig;
use crate::event::Event;

/// How long the brokers have to acknowledge what one call sends.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause while the local queue is full.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(10);

/// An idempotent producer that waits for all in-sync replicas. Clones share one connection.
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
}

struct Shared {
    config: KafkaConfig,
    current: ArcSwap<Connection>,
    replaced: AtomicU64,
    trouble: Trouble,
}

/// A connection that remembers what the brokers reported.
pub(super) type Connection = FutureProducer<Trouble>;

/// What goes into one record.
pub(super) struct Record<'a> {
    pub(super) topic: &'a str,
    pub(super) key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub(super) payload: Option<&'a [u8]>,
    pub(super) headers: OwnedHeaders,
}

impl<'a> Record<'a> {
    /// The records of `events`, in order. `topic` is the full name.
    pub(super) fn of_events(topic: &'a str, events: &'a [Event]) -> anyhow::Result<Vec<Self>> {
        let record = |event: &'a Event| {
            Ok(Self {
                topic,
                key: Some(event.key.as_bytes()),
                payload: (!event.is_tombstone()).then_some(&*event.data),
                headers: wire::headers(event)?,
            })
        };
        events.iter().map(record).collect()
    }
}

impl Producer {
    pub(crate) fn new(config: &KafkaConfig) -> anyhow::Result<Self> {
        let trouble = Trouble::default();
        let current = ArcSwap::from_pointee(connect(config, &trouble)?);
        Ok(Self {
            shared: Arc::new(Shared {
                config: config.clone(),
                current,
                replaced: AtomicU64::new(0),
                trouble,
            }),
        })
    }

    /// Changes whenever acknowledged messages may be gone: a topic was recreated, or could have been without
    /// us noticing. We notice after some seconds.
    pub fn epoch(&self) -> u64 {
        self.shared.replaced.load(Ordering::Acquire) + self.shared.trouble.recreated().times()
    }

    /// Sends to `topic` (without the prefix) and waits for every acknowledgement.
    ///
    /// An error names the first failure. Some events may have been written, so the caller repeats them all,
    /// in the same order.
    pub async fn send_all(&self, topic: &str, events: &[Event]) -> anyhow::Result<()> {
        let topic = self.shared.config.topic(topic);
        self.send_records(Record::of_events(&topic, events)?).await
    }

    pub(super) async fn send_records(&self, records: Vec<Record<'_>>) -> anyhow::Result<()> {
        let count = records.len();
        let producer = self.shared.current.load_full();
        let sent = tokio::time::timeout(SEND_TIMEOUT, send(&producer, records)).await.unwrap_or_else(|_| {
            let why = self.shared.trouble.because();
            Err(anyhow!("Kafka did not acknowledge within {} s{why}", SEND_TIMEOUT.as_secs()))
        });
        if sent.is_ok() {
            metrics::counter!("kafka_produced_total").increment(count as u64);
        } else {
            metrics::counter!("kafka_produce_errors_total").increment(1);
            self.replace(&producer)?;
        }
        sent
    }

    /// Replaces `failed` with a new producer. The queue of `failed` may hold what the caller will send again,
    /// or a fatal error has stopped it for good.
    fn replace(&self, failed: &Arc<Connection>) -> anyhow::Result<()> {
        let fresh = Arc::new(connect(&self.shared.config, &self.shared.trouble)?);
        let before = self.shared.current.compare_and_swap(failed, fresh);
        if Arc::ptr_eq(&before, failed) {
            self.shared.replaced.fetch_add(1, Ordering::Release);
            failed.purge(PurgeConfig::default().queue().inflight());
        }
        Ok(())
    }

    /// An error while no broker answers.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let producer = self.shared.current.load_full();
        let trouble = self.shared.trouble.clone();
        tokio::task::spawn_blocking(move || topics::reachable(producer.client(), &trouble)).await?
    }
}

fn connect(config: &KafkaConfig, trouble: &Trouble) -> anyhow::Result<Connection> {
    settings(config).create_with_context(trouble.clone()).context("cannot create a Kafka producer")
}

/// What all our producers have in common.
pub(super) fn settings(config: &KafkaConfig) -> ClientConfig {
    let mut settings = config.client("rocketmart");
    Recreated::listen(&mut settings);
    settings
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "2")
        .set("compression.type", "lz4")
        // Java's default, so that other tools assign keys to the same partitions as we do.
        .set("partitioner", "murmur2_random")
        // Never give up on single messages, see the top of this file.
        .set("message.timeout.ms", "0")
        .set("queue.buffering.max.messages", "50000")
        .set("queue.buffering.max.kbytes", "65536")
        .set("reconnect.backoff.max.ms", "2000")
        // By then we notice that a topic was recreated, see `Producer::epoch`.
        .set("topic.metadata.refresh.interval.ms", "3000");
    settings
}

pub(super) async fn send(producer: &Connection, records: Vec<Record<'_>>) -> anyhow::Result<()> {
    let mut acknowledgements = Vec::with_capacity(records.len());
    for record in records {
        acknowledgements.push(enqueue(producer, record).await?);
    }
    try_join_all(acknowledgements.into_iter().map(async |acknowledgement| match acknowledgement.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err((error, message))) => {
            let topic = rdkafka::Message::topic(&message).to_owned();
            Err(anyhow::Error::new(error).context(format!("cannot write to topic {topic}")))
        }
        Err(_cancelled) => Err(anyhow!("the Kafka producer was closed while sending")),
    }))
    .await?;
    Ok(())
}

/// Puts a record into the local queue, and waits while the queue is full.
async fn enqueue(
    producer: &Connection,
    record: Record<'_>,
) -> anyhow::Result<rdkafka::producer::DeliveryFuture> {
    let mut next = FutureRecord::<[u8], [u8]>::to(record.topic).headers(record.headers);
    next.key = record.key;
    next.payload = record.payload;
    loop {
        match producer.send_result(next) {
            Ok(acknowledgement) => return Ok(acknowledgement),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => {
                next = record;
                tokio::time::sleep(QUEUE_FULL_PAUSE).await;
            }
            Err((error, _)) => {
                return Err(
                    anyhow::Error::new(error).context(format!("cannot send to topic {}", record.topic))
                );
            }
        }
    }
}
