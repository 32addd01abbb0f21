//! Messages that can never be handled. We park them in `<group>.dead-letters` as they came, with headers that
//! say where they came from and why.

use anyhow::Context;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message, OwnedHeaders};
use tokio::sync::OnceCell;

use super::handler::Delivery;
use super::place::Place;
use super::producer::{Producer, Record};
use super::{topics, wire};
use crate::config::KafkaConfig;

pub(super) const SUFFIX: &str = ".dead-letters";

/// Headers that say why and where from.
pub(super) const ERROR: &str = "error";
pub(super) const ORIGIN_TOPIC: &str = "origin-topic";
pub(super) const ORIGIN_PARTITION: &str = "origin-partition";
pub(super) const ORIGIN_OFFSET: &str = "origin-offset";

/// The topic of a component's dead letters, without the prefix.
pub(super) fn topic(component: &str) -> String {
    format!("{component}{SUFFIX}")
}

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
        foreign: Option<OwnedHeaders>,
        error: &anyhow::Error,
    ) -> anyhow::Result<Self> {
        let event = &delivery.event;
        let foreign = foreign.unwrap_or_default();
        Ok(Self {
            headers: foreign.iter().fold(wire::headers(event)?, OwnedHeaders::insert),
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
    component: String,
    /// Without the prefix.
    topic: String,
    producer: OnceCell<Producer>,
}

impl DeadLetters {
    /// `component` reads `sources`, topics with the prefix.
    pub(super) fn new(config: &KafkaConfig, component: &str, sources: &[String]) -> Self {
        let letters = Self {
            config: config.clone(),
            component: component.to_owned(),
            topic: topic(component),
            producer: OnceCell::new(),
        };
        // A counter that first appears with its first letter never increases, so an alert could not see it.
        for source in sources {
            letters.count(source, 0);
        }
        letters
    }

    fn count(&self, source: &str, letters: u64) {
        let (component, topic) = (self.component.clone(), source.to_owned());
        metrics::counter!("kafka_dead_letters_total", "component" => component, "topic" => topic)
            .increment(letters);
    }

    /// Parks a letter. Once this returns `Ok`, it is safe to go on without the message.
    pub(super) async fn park(&self, letter: &Letter) -> anyhow::Result<()> {
        let producer = self.producer.get_or_try_init(|| self.connect()).await?;
        let (partition, offset) = (letter.origin.partition.to_string(), letter.offset.to_string());
        let mut headers = letter.headers.clone();
        for (key, value) in [
            (ERROR, letter.error.as_str()),
            (ORIGIN_TOPIC, &letter.origin.topic),
            (ORIGIN_PARTITION, &partition),
            (ORIGIN_OFFSET, &offset),
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
        self.count(&letter.origin.topic, 1);
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
        topics::create_for_dead_letters(&self.config, &self.topic).await?;
        self.config.producer()
    }
}
