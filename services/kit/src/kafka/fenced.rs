//! A producer of which only the newest with its name can write.
//!
//! A publisher that was replaced may wake up with a batch in its hands. What it sent then would stand behind
//! newer events of the same keys for good. So whoever takes over a name makes the brokers refuse everything
//! that its predecessors still send (the epoch of a transactional id): an old event can no longer follow a
//! new one. Each call is one transaction: readers see all of it or nothing.

use std::time::Duration;

use anyhow::{Context, anyhow};
use rdkafka::producer::Producer as _;

use super::producer::{Connection, Record, SEND_TIMEOUT, send, settings};
use super::trouble::Trouble;
use crate::config::KafkaConfig;
use crate::event::Event;

/// How long the brokers may take to hand over the name, or to finish a transaction.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(20);

/// Good until the first error. What that call has written is then unknown; taking over the name again settles
/// it.
pub struct FencedProducer {
    config: KafkaConfig,
    producer: Connection,
}

impl FencedProducer {
    /// Takes over `name` (without the shop's prefix) from whoever had it.
    pub async fn take_over(config: &KafkaConfig, name: &str) -> anyhow::Result<Self> {
        let trouble = Trouble::default();
        let producer: Connection = settings(config)
            .set("transactional.id", config.topic(name))
            // The brokers abort a transaction that stays open for longer than this; a message must not
            // outlive it.
            .set("transaction.timeout.ms", "60000")
            .set("message.timeout.ms", "30000")
            .create_with_context(trouble.clone())
            .context("cannot create a Kafka producer")?;
        let taking = producer.clone();
        tokio::task::spawn_blocking(move || taking.init_transactions(TRANSACTION_TIMEOUT))
            .await?
            .with_context(|| format!("cannot become the producer {name}{}", trouble.because()))?;
        Ok(Self { config: config.clone(), producer })
    }

    /// Writes all events to `topic` (without the prefix) in their order, or none.
    ///
    /// After an error they may or may not be written. Take over the name and send them again.
    pub async fn send_all(&self, topic: &str, events: &[Event]) -> anyhow::Result<()> {
        let topic = self.config.topic(topic);
        self.send_records(Record::of_events(&topic, events)?).await
    }

    pub(super) async fn send_records(&self, records: Vec<Record<'_>>) -> anyhow::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let count = records.len();
        self.producer.begin_transaction().context("cannot begin a Kafka transaction")?;
        tokio::time::timeout(SEND_TIMEOUT, send(&self.producer, records))
            .await
            .map_err(|_| anyhow!("Kafka did not acknowledge within {} s", SEND_TIMEOUT.as_secs()))??;
        let finishing = self.producer.clone();
        tokio::task::spawn_blocking(move || finishing.commit_transaction(TRANSACTION_TIMEOUT))
            .await?
            .context("cannot commit a Kafka transaction")?;
        metrics::counter!("kafka_produced_total").increment(count as u64);
        Ok(())
    }
}
