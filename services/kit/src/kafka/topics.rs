//! Checks whether brokers answer, and creates topics where nobody else does (tests, development, dead
//! letters).

use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{Client, ClientContext, DefaultClientContext};
use rdkafka::error::RDKafkaErrorCode;

use super::trouble::Trouble;
use crate::config::KafkaConfig;

const METADATA_TIMEOUT: Duration = Duration::from_millis(1500);
const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Shorter than the inbox keeps ids: as long as a letter can be replayed, the inbox knows what was handled.
const DEAD_LETTERS_KEPT: Duration = Duration::from_hours(14 * 24);

#[derive(Clone, Copy, Debug)]
pub struct TopicSpec<'a> {
    /// Without the shop's prefix.
    pub name: &'a str,
    pub partitions: i32,
    /// Keep the last event of every key forever.
    pub compacted: bool,
}

/// Creates the topics that do not exist yet, with the brokers' default replication.
pub async fn create_topics(config: &KafkaConfig, topics: &[TopicSpec<'_>]) -> anyhow::Result<()> {
    let names: Vec<_> = topics.iter().map(|topic| config.topic(topic.name)).collect();
    let new = topics.iter().zip(&names).map(|(topic, name)| {
        let new = NewTopic::new(name, topic.partitions, TopicReplication::Fixed(-1));
        if topic.compacted { new.set("cleanup.policy", "compact") } else { new }
    });
    create(config, &new.collect::<Vec<_>>()).await
}

/// Creates a topic for dead letters (without the prefix), unless it exists.
pub(super) async fn create_for_dead_letters(config: &KafkaConfig, name: &str) -> anyhow::Result<()> {
    let name = config.topic(name);
    let kept = DEAD_LETTERS_KEPT.as_millis().to_string();
    let new = NewTopic::new(&name, 1, TopicReplication::Fixed(-1)).set("retention.ms", &kept);
    create(config, &[new]).await
}

async fn create(config: &KafkaConfig, new: &[NewTopic<'_>]) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> =
        config.client("topics").create().context("cannot create a Kafka admin client")?;
    let options = AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT));
    for outcome in admin.create_topics(new, &options).await.context("cannot create topics")? {
        match outcome {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, error)) => bail!("cannot create topic {name}: {error}"),
        }
    }
    Ok(())
}

/// Blocks for at most a second or so.
pub(super) fn reachable<C: ClientContext>(client: &Client<C>, trouble: &Trouble) -> anyhow::Result<()> {
    let answer = client.fetch_metadata(None, METADATA_TIMEOUT);
    answer.with_context(|| format!("no Kafka broker answers{}", trouble.because()))?;
    Ok(())
}
