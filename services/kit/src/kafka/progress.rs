//! How far a component's group has come, asked without being a member of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::config::KafkaConfig;

/// Longest wait for one answer of a broker.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A look at what a group has committed of one topic.
#[derive(Clone)]
pub struct GroupProgress {
    consumer: Arc<BaseConsumer>,
    topic: String,
}

/// The end of each partition of a topic at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends(BTreeMap<i32, i64>);

impl GroupProgress {
    /// The group of `component`, reading `topic` (without the prefix). It connects in the background.
    pub fn new(config: &KafkaConfig, component: &str, topic: &str) -> anyhow::Result<Self> {
        let consumer = config
            .client(&format!("{component}-progress"))
            .set("group.id", config.group(component))
            .set("enable.auto.commit", "false")
            .set("reconnect.backoff.max.ms", "2000")
            .create()
            .context("cannot create a Kafka client")?;
        Ok(Self { consumer: Arc::new(consumer), topic: config.topic(topic) })
    }

    /// Where the topic ends now.
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
        let metadata =
            self.consumer.fetch_metadata(Some(&self.topic), TIMEOUT).context("no Kafka broker answers")?;
        let topic = metadata.topics().first().context("no metadata of the topic")?;
        if let Some(error) = topic.error() {
            anyhow::bail!("topic {}: {error:?}", self.topic);
        }
        let end = |partition: i32| {
            let (_, end) = self
                .consumer
                .fetch_watermarks(&self.topic, partition, TIMEOUT)
                .context("cannot read the end of a log")?;
            anyhow::Ok((partition, end))
        };
        topic.partitions().iter().map(|partition| end(partition.id())).collect::<Result<_, _>>().map(Ends)
    }

    fn compare(&self, ends: &Ends) -> anyhow::Result<i64> {
        let mut asked = TopicPartitionList::new();
        for partition in ends.0.keys() {
            asked.add_partition(&self.topic, *partition);
        }
        let committed = self
            .consumer
            .committed_offsets(asked, TIMEOUT)
            .context("cannot read the offsets of the group")?;
        let mut behind = 0;
        for element in committed.elements() {
            let (start, _) = self
                .consumer
                .fetch_watermarks(&self.topic, element.partition(), TIMEOUT)
                .context("cannot read the beginning of a log")?;
            // A group that has never committed has everything still before it.
            let at = match element.offset() {
                Offset::Offset(offset) => offset.max(start),
                _ => start,
            };
            behind += (ends.0.get(&element.partition()).copied().unwrap_or_default() - at).max(0);
        }
        Ok(behind)
    }
}
