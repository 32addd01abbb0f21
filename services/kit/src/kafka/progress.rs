//! How far a component's group has come, asked without being a member of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::MetadataPartition;
use rdkafka::{Offset, TopicPartitionList};

use crate::config::KafkaConfig;

/// Longest wait for one answer of a broker.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// A look at what a group has committed of some topics.
#[derive(Clone)]
pub struct GroupProgress {
    consumer: Arc<BaseConsumer>,
    topics: Vec<String>,
}

/// The end of each partition of the topics at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends(BTreeMap<(String, i32), i64>);

impl GroupProgress {
    /// The group of `component`, reading `topics` (without the prefix). It connects in the background.
    pub fn new(config: &KafkaConfig, component: &str, topics: &[&str]) -> anyhow::Result<Self> {
        let consumer = onlooker(config, &format!("{component}-progress"), component)?;
        let topics = topics.iter().map(|topic| config.topic(topic)).collect();
        Ok(Self { consumer: Arc::new(consumer), topics })
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
        let mut behind = 0;
        for element in committed.elements() {
            let (start, _) = self
                .consumer
                .fetch_watermarks(element.topic(), element.partition(), TIMEOUT)
                .context("cannot read the beginning of a log")?;
            // A group that has never committed has everything still before it.
            let at = match element.offset() {
                Offset::Offset(offset) => offset.max(start),
                _ => start,
            };
            let end = ends.0.get(&(element.topic().to_owned(), element.partition()));
            behind += (end.copied().unwrap_or_default() - at).max(0);
        }
        Ok(behind)
    }
}

/// A client that asks about the group of `component` and is no member of it.
pub(super) fn onlooker(config: &KafkaConfig, id: &str, component: &str) -> anyhow::Result<BaseConsumer> {
    config
        .client(id)
        .set("group.id", config.group(component))
        .set("enable.auto.commit", "false")
        .set("reconnect.backoff.max.ms", "2000")
        .create()
        .context("cannot create a Kafka client")
}

/// The partitions of a topic; none while there is no such topic.
pub(super) fn partitions(consumer: &BaseConsumer, name: &str) -> anyhow::Result<Vec<i32>> {
    let metadata = consumer.fetch_metadata(Some(name), TIMEOUT).context("no Kafka broker answers")?;
    let topic = metadata.topics().first().context("no metadata of the topic")?;
    match topic.error().map(RDKafkaErrorCode::from) {
        None => Ok(topic.partitions().iter().map(MetadataPartition::id).collect()),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(Vec::new()),
        Some(error) => anyhow::bail!("topic {name}: {error}"),
    }
}
