//! How far a component's group has come, seen from outside the group.
//!
//! ```text
//!   end of the log − what the group has committed ──▶ 0: it has everything
//!            └──▶ more, and as at the last look: read what is there ──▶ nothing but markers: it has everything
//! ```
//! A transaction ends with a marker. It takes an offset like a message, but no consumer ever gets it, so no
//! group ever commits past the last one. `dead-letters replay` writes in a transaction.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataPartition;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::config::KafkaConfig;

/// Longest wait for one answer of a broker.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// Tells what a group has committed of some topics.
#[derive(Clone)]
pub struct GroupProgress {
    consumer: Arc<BaseConsumer>,
    topics: Vec<String>,
    /// What was left at the last look. Locked while a log is being read.
    left: Arc<Mutex<HashSet<Left>>>,
}

/// What a group has yet to commit of a partition, markers included.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Left {
    topic: String,
    partition: i32,
    from: i64,
    end: i64,
}

/// Where each partition of the topics ended at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends(BTreeMap<(String, i32), i64>);

impl GroupProgress {
    /// The group of `component`, which reads `topics` (without the prefix). Connects in the background.
    pub fn new(config: &KafkaConfig, component: &str, topics: &[&str]) -> anyhow::Result<Self> {
        let consumer = onlooker(config, &format!("{component}-progress"), component)?;
        let topics = topics.iter().map(|topic| config.topic(topic)).collect();
        Ok(Self { consumer: Arc::new(consumer), topics, left: Arc::default() })
    }

    /// Where the topics end now.
    pub async fn ends(&self) -> anyhow::Result<Ends> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.look_for_ends()).await?
    }

    /// Messages before `ends` that the group has yet to commit.
    pub async fn behind(&self, ends: &Ends) -> anyhow::Result<i64> {
        let (this, ends) = (self.clone(), ends.clone());
        tokio::task::spawn_blocking(move || this.compare(&ends)).await?
    }

    fn look_for_ends(&self) -> anyhow::Result<Ends> {
        let mut ends = BTreeMap::new();
        for name in &self.topics {
            for partition in partitions(&self.consumer, name)? {
                let (_, end) = self
                    .consumer
                    .fetch_watermarks(name, partition, TIMEOUT)
                    .context("cannot read the end of a log")?;
                ends.insert((name.clone(), partition), end);
            }
        }
        Ok(Ends(ends))
    }

    fn compare(&self, ends: &Ends) -> anyhow::Result<i64> {
        let mut asked = TopicPartitionList::new();
        for (topic, partition) in ends.0.keys() {
            asked.add_partition(topic, *partition);
        }
        let committed = self
            .consumer
            .committed_offsets(asked, TIMEOUT)
            .context("cannot read the offsets of the group")?;
        let mut left = HashSet::new();
        for element in committed.elements() {
            let (start, _) = self
                .consumer
                .fetch_watermarks(element.topic(), element.partition(), TIMEOUT)
                .context("cannot read the beginning of a log")?;
            // A group that has never committed still has everything to read.
            let at = match element.offset() {
                Offset::Offset(offset) => offset.max(start),
                _ => start,
            };
            let (topic, partition) = (element.topic().to_owned(), element.partition());
            let end = ends.0.get(&(topic.clone(), partition)).copied().unwrap_or_default();
            if at < end {
                left.insert(Left { topic, partition, from: at, end });
            }
        }
        let mut before = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let mut behind = 0;
        for left in &left {
            // What moves is mostly messages, so we do not read it again for that.
            if !before.contains(left) || !self.only_markers(left)? {
                behind += left.end - left.from;
            }
        }
        *before = left;
        Ok(behind)
    }

    /// Whether the log has no message there; also `false` when we cannot tell for sure.
    fn only_markers(&self, left: &Left) -> anyhow::Result<bool> {
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(&left.topic, left.partition, Offset::Offset(left.from))?;
        self.consumer.assign(&place).context("cannot read a log")?;
        let only_markers = match self.consumer.poll(TIMEOUT) {
            Some(Ok(message)) => message.offset() >= left.end,
            Some(Err(KafkaError::PartitionEOF(_))) => true,
            Some(Err(_)) | None => false,
        };
        self.consumer.unassign().context("cannot leave a log")?;
        Ok(only_markers)
    }
}

/// A client that asks about the group of `component` without joining it.
pub(super) fn onlooker(config: &KafkaConfig, id: &str, component: &str) -> anyhow::Result<BaseConsumer> {
    config
        .client(id)
        .set("group.id", config.group(component))
        .set("enable.auto.commit", "false")
        // The end of a partition is reported, and it is the end of the log: while a transaction is open, what
        // follows its beginning counts too.
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_uncommitted")
        .set("auto.offset.reset", "earliest")
        .set("reconnect.backoff.max.ms", "2000")
        .create()
        .context("cannot create a Kafka client")
}

/// The partitions of a topic, or none while there is no such topic.
pub(super) fn partitions(consumer: &BaseConsumer, name: &str) -> anyhow::Result<Vec<i32>> {
    let metadata = consumer.fetch_metadata(Some(name), TIMEOUT).context("no Kafka broker answers")?;
    let topic = metadata.topics().first().context("no metadata of the topic")?;
    match topic.error().map(RDKafkaErrorCode::from) {
        None => Ok(topic.partitions().iter().map(MetadataPartition::id).collect()),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(Vec::new()),
        Some(error) => anyhow::bail!("topic {name}: {error}"),
    }
}
