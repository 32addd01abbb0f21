//! Moves a component's group back, so that it reads again what it has read before.
//!
//! After its database was restored from a backup, a service lacks what came since, and Kafka still has it.
//! The inbox recognizes what the backup has as well. A group is never moved forward. Nor is it moved while it
//! has members, for they would go on from where they are.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use time::OffsetDateTime;

use super::progress::partitions;
use crate::config::KafkaConfig;

/// Longest wait for one answer of a broker.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where a group resumes in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewound {
    pub topic: String,
    pub partition: i32,
    /// What it would have read next. `None`: it has read nothing.
    pub from: Option<i64>,
    pub to: i64,
    /// Where the log ends now.
    pub end: i64,
}

/// Moves the group of `component` back in `topics` (without the prefix): to the first message written at `to`
/// or later, or to the oldest that Kafka has. Topics that do not exist are skipped.
pub async fn rewind(
    config: &KafkaConfig,
    component: &str,
    topics: &[&str],
    to: Option<OffsetDateTime>,
) -> anyhow::Result<Vec<Rewound>> {
    let group = config.group(component);
    let consumer: BaseConsumer = config
        .client(&format!("{component}-rewind"))
        .set("group.id", &group)
        .set("enable.auto.commit", "false")
        .create()
        .context("cannot create a Kafka client")?;
    let topics = topics.iter().map(|topic| config.topic(topic)).collect::<Vec<_>>();
    tokio::task::spawn_blocking(move || {
        let members = members(&consumer, &group)?;
        ensure!(members == 0, "{group} has {members} members: it can be moved once they have stopped");
        let mut rewound = Vec::new();
        for topic in &topics {
            for partition in partitions(&consumer, topic)? {
                rewound.push(plan(&consumer, topic, partition, to)?);
            }
        }
        let mut offsets = TopicPartitionList::new();
        for Rewound { topic, partition, to, .. } in &rewound {
            offsets.add_partition_offset(topic, *partition, Offset::Offset(*to))?;
        }
        if !rewound.is_empty() {
            consumer.commit(&offsets, CommitMode::Sync).with_context(|| format!("cannot move {group}"))?;
        }
        Ok(rewound)
    })
    .await?
}

fn members(consumer: &BaseConsumer, group: &str) -> anyhow::Result<usize> {
    let groups = consumer.fetch_group_list(Some(group), TIMEOUT).context("cannot ask for the group")?;
    Ok(groups.groups().iter().filter(|found| found.name() == group).map(|found| found.members().len()).sum())
}

fn plan(
    consumer: &BaseConsumer,
    topic: &str,
    partition: i32,
    to: Option<OffsetDateTime>,
) -> anyhow::Result<Rewound> {
    let (start, end) =
        consumer.fetch_watermarks(topic, partition, TIMEOUT).context("cannot read the ends of a log")?;
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, partition);
    let committed =
        consumer.committed_offsets(asked, TIMEOUT).context("cannot read the offsets of the group")?;
    let from = offset(&committed, topic, partition);
    let wanted = match to {
        None => start,
        Some(moment) => {
            let mut asked = TopicPartitionList::new();
            let ms = i64::try_from(moment.unix_timestamp_nanos() / 1_000_000)?;
            asked.add_partition_offset(topic, partition, Offset::Offset(ms))?;
            let found =
                consumer.offsets_for_times(asked, TIMEOUT).context("cannot look for a time in a log")?;
            // There is no message as new as that.
            offset(&found, topic, partition).unwrap_or(end)
        }
    };
    let to = from.map_or(wanted, |from| wanted.min(from)).max(start);
    Ok(Rewound { topic: topic.to_owned(), partition, from, to, end })
}

fn offset(list: &TopicPartitionList, topic: &str, partition: i32) -> Option<i64> {
    match list.find_partition(topic, partition)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}
