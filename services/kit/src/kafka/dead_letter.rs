//! Messages that can never be handled, parked in `<group>.dead-letters` as they came, with
//! headers that say where from and why.

use anyhow::Context;
use rdkafka::message::{BorrowedMessage, Header, Message, OwnedHeaders};
use tokio::sync::OnceCell;

use super::batch::Place;
use super::handler::Delivery;
use super::producer::{Producer, Record};
use super::topics::{TopicSpec, create_topics};
use super::wire;
use crate::config::KafkaConfig;

/// A message to be parked.
pub(super) struct Letter {
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    headers: OwnedHeaders,
    origin: Place,
    offset: i64,
    error: String,
}

impl Letter {
    pub(super) fn from_message(message: &BorrowedMessage<'_>, error: &anyhow::Error) -> Self {
        Self {
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers: message
                .headers()
                .map_or_else(OwnedHeaders::new, rdkafka::message::BorrowedHeaders::detach),
            origin: Place::new(message.topic(), message.partition()),
            offset: message.offset(),
            error: format!("{error:#}"),
        }
    }

    pub(super) fn from_delivery(
        config: &KafkaConfig,
        delivery: &Delivery,
        error: &anyhow::Error,
    ) -> anyhow::Result<Self> {
        let event = &delivery.event;
        Ok(Self {
            headers: wire::headers(event)?,
            payload: (!event.is_tombstone()).then(|| event.data.to_vec()),
            key: Some(event.key.clone().into_bytes()),
            origin: Place::new(&config.topic(&delivery.topic), delivery.partition),
            offset: delivery.offset,
            error: format!("{error:#}"),
        })
    }

    pub(super) fn origin(&self) -> &Place {
        &self.origin
    }
}

/// The dead-letter topic of a group; connects when the first letter comes.
pub(super) struct DeadLetters {
    config: KafkaConfig,
    /// Without the prefix.
    topic: String,
    producer: OnceCell<Producer>,
}

impl DeadLetters {
    pub(super) fn new(config: &KafkaConfig, component: &str) -> Self {
        Self { config: config.clone(), topic: format!("{component}.dead-letters"), producer: OnceCell::new() }
    }

    /// Parks a letter; once this returns `Ok` it is safe to go on without the message.
    pub(super) async fn park(&self, letter: &Letter) -> anyhow::Result<()> {
        let producer = self.producer.get_or_try_init(|| self.connect()).await?;
        let (partition, offset) = (letter.origin.partition.to_string(), letter.offset.to_string());
        let mut headers = letter.headers.clone();
        for (key, value) in [
            ("error", letter.error.as_str()),
            ("origin-topic", &letter.origin.topic),
            ("origin-partition", &partition),
            ("origin-offset", &offset),
        ] {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let record = Record {
            topic: &self.config.topic(&self.topic),
            key: letter.key.as_deref(),
            payload: letter.payload.as_deref(),
            headers,
        };
        producer.send_records(vec![record]).await.context("cannot park a message")?;
        metrics::counter!("kafka_dead_letters_total", "topic" => letter.origin.topic.clone()).increment(1);
        tracing::error!(
            topic = letter.origin.topic,
            partition,
            offset,
            error = letter.error,
            parked_in = self.topic,
            "a message cannot be handled and was parked"
        );
        Ok(())
    }

    async fn connect(&self) -> anyhow::Result<Producer> {
        let spec = TopicSpec { name: &self.topic, partitions: 1, compacted: false };
        create_topics(&self.config, &[spec]).await?;
        self.config.producer()
    }
}
