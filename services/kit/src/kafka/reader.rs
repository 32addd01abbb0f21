//! Reads a whole topic, then follows it: for state that is rebuilt from a compacted topic.
//!
//! There is no group and there are no offsets: every process reads every partition from the beginning.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::consumer::usable;
use super::handler::{HandleError, Handler};
use super::recreated::Recreated;
use super::trouble::Trouble;
use crate::config::KafkaConfig;

const BATCH: usize = 1000;
const LINGER: Duration = Duration::from_millis(50);
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before we look again for a missing topic, or handle a batch again.
const PAUSE: Duration = Duration::from_secs(1);

/// Hands every event of `topic` to `handler` from the beginning, calls `caught_up` once when it has handled
/// all that was there, and goes on until `stop`. It starts over when the topic was deleted and recreated.
///
/// It waits for the topic. It logs and skips poison: each process reads it again on each start, so parking it
/// would only multiply it.
pub async fn read_all_then_follow(
    config: &KafkaConfig,
    component: &str,
    topic: &str,
    handler: Arc<dyn Handler>,
    caught_up: impl FnOnce() + Send,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut caught_up = Some(caught_up);
    while !stop.is_cancelled() {
        let reader = Reader::open(config, component, topic)?;
        let Some(partitions) = reader.assign(&stop).await? else { return Ok(()) };
        let mut behind: HashSet<i32> = partitions.into_iter().collect();
        while !stop.is_cancelled() && !reader.trouble.recreated().any() {
            let batch = reader.collect(&mut behind, &stop).await?;
            handle(batch, &*handler, &stop).await;
            if behind.is_empty()
                && !stop.is_cancelled()
                && let Some(tell) = caught_up.take()
            {
                tell();
            }
        }
    }
    Ok(())
}

struct Reader {
    config: KafkaConfig,
    topic: String,
    consumer: Arc<StreamConsumer<Trouble>>,
    trouble: Trouble,
}

impl Reader {
    fn open(config: &KafkaConfig, component: &str, topic: &str) -> anyhow::Result<Self> {
        let trouble = Trouble::default();
        let mut settings = config.client(component);
        Recreated::listen(&mut settings);
        let consumer = settings
            // Required by librdkafka; we join no group.
            .set("group.id", format!("{}-reader", config.group(component)))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("reconnect.backoff.max.ms", "2000")
            .set("queued.max.messages.kbytes", "8192")
            .set("fetch.wait.max.ms", "100")
            .create_with_context(trouble.clone())
            .context("cannot create a Kafka consumer")?;
        Ok(Self { config: config.clone(), topic: config.topic(topic), consumer: Arc::new(consumer), trouble })
    }

    /// Takes every partition from its beginning. `None` when stopped before the topic was there.
    async fn assign(&self, stop: &CancellationToken) -> anyhow::Result<Option<Vec<i32>>> {
        loop {
            match self.partitions().await {
                Ok(partitions) if !partitions.is_empty() => {
                    let mut assignment = TopicPartitionList::new();
                    for partition in &partitions {
                        assignment.add_partition_offset(&self.topic, *partition, Offset::Beginning)?;
                    }
                    self.consumer.assign(&assignment)?;
                    return Ok(Some(partitions));
                }
                Ok(_) => tracing::warn!(topic = self.topic, "waiting for the topic"),
                Err(error) => {
                    tracing::warn!(topic = self.topic, error = format!("{error:#}"), "waiting for Kafka");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = self.listen(PAUSE) => {}
            }
        }
    }

    /// Polls, so that we hear what librdkafka reports besides its answers. There are no messages yet.
    async fn listen(&self, time: Duration) {
        let until = Instant::now() + time;
        while timeout_at(until, self.consumer.recv()).await.is_ok() {}
    }

    async fn partitions(&self) -> anyhow::Result<Vec<i32>> {
        let (consumer, topic) = (Arc::clone(&self.consumer), self.topic.clone());
        let metadata =
            tokio::task::spawn_blocking(move || consumer.fetch_metadata(Some(&topic), METADATA_TIMEOUT))
                .await??;
        let partitions = metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions);
        Ok(partitions.map(rdkafka::metadata::MetadataPartition::id).collect())
    }

    /// Collects the messages that are there, up to a batch. Removes from `behind` the partitions whose end it
    /// saw.
    async fn collect(&self, behind: &mut HashSet<i32>, stop: &CancellationToken) -> anyhow::Result<Batch> {
        let mut batch = Batch::default();
        let deadline = Instant::now() + LINGER;
        while batch.len() < BATCH {
            let polled = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                polled = timeout_at(deadline, self.consumer.recv()) => polled,
            };
            match polled {
                Err(_elapsed) => break,
                Ok(Err(KafkaError::PartitionEOF(partition))) => {
                    behind.remove(&partition);
                    if behind.is_empty() {
                        break;
                    }
                }
                Ok(message) => {
                    if let Some(message) = usable(message).await? {
                        batch.push(&self.config, &message);
                    }
                }
            }
        }
        Ok(batch)
    }
}

/// Returns once the batch is handled, or when stopped.
async fn handle(mut batch: Batch, handler: &dyn Handler, stop: &CancellationToken) {
    for letter in &batch.unreadable {
        tracing::error!(origin = ?letter.origin(), "a message is no event and was skipped");
    }
    while !batch.deliveries.is_empty() {
        match handler.handle(&batch.deliveries).await {
            Ok(()) => return,
            Err(HandleError::Poison { index, error }) if index < batch.deliveries.len() => {
                let skipped = batch.deliveries.remove(index);
                metrics::counter!("kafka_skipped_total", "topic" => skipped.topic.clone()).increment(1);
                tracing::error!(
                    topic = skipped.topic,
                    partition = skipped.partition,
                    offset = skipped.offset,
                    error = format!("{error:#}"),
                    "an event cannot be handled and was skipped"
                );
            }
            Err(error) => {
                tracing::warn!(%error, "batch not handled, trying again");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
}
