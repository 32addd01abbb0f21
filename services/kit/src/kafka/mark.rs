//! A mark on a topic that disappears with it.
//!
//! Whoever keeps a compacted topic complete has to notice that its log is gone, even if it went while nobody
//! looked. A note in a database would outlive the log. A committed offset does not: brokers forget it along
//! with the topic, and a cluster that comes back empty never knew it. They also forget it after
//! `offsets.retention.minutes` (a week, by default), so the mark has to be renewed now and then.

use std::sync::Arc;

use anyhow::Context as _;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::progress::{TIMEOUT, onlooker, partitions};
use crate::config::KafkaConfig;

/// A mark on one topic, by its name; clones share one connection.
#[derive(Clone)]
pub struct TopicMark {
    consumer: Arc<BaseConsumer>,
    topic: String,
}

impl TopicMark {
    /// The mark `name` on `topic` (both without the prefix). Connects in the background.
    pub fn new(config: &KafkaConfig, name: &str, topic: &str) -> anyhow::Result<Self> {
        let consumer = onlooker(config, name, name)?;
        Ok(Self { consumer: Arc::new(consumer), topic: config.topic(topic) })
    }

    /// Whether a partition of the topic lacks the mark; false while there is no such topic.
    pub async fn is_missing(&self) -> anyhow::Result<bool> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.look()).await?
    }

    /// Marks all partitions that the topic has now.
    pub async fn set(&self) -> anyhow::Result<()> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.commit()).await?
    }

    fn look(&self) -> anyhow::Result<bool> {
        let asked = self.partitions()?;
        if asked.count() == 0 {
            return Ok(false);
        }
        let committed = self
            .consumer
            .committed_offsets(asked, TIMEOUT)
            .context("cannot read the offsets of the group")?;
        Ok(committed.elements().iter().any(|element| !matches!(element.offset(), Offset::Offset(_))))
    }

    fn commit(&self) -> anyhow::Result<()> {
        let mut mark = self.partitions()?;
        if mark.count() == 0 {
            return Ok(());
        }
        mark.set_all_offsets(Offset::Offset(0))?;
        self.consumer.commit(&mark, CommitMode::Sync).context("cannot commit the offsets of the group")
    }

    fn partitions(&self) -> anyhow::Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for partition in partitions(&self.consumer, &self.topic)? {
            list.add_partition(&self.topic, partition);
        }
        Ok(list)
    }
}
