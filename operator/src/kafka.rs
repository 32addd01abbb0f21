//! Kafka, seen by the operator: topics, and one connection per cluster.
//!
//! librdkafka connects in the background and blocks while it asks; everything here runs on blocking
//! threads with a limit of time, so that a cluster that does not answer holds up only its own shops. Shops
//! of one cluster share what it answers: its topics are asked for once for all that want to know at that
//! time, and one that does not answer is left alone for a moment.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::KafkaError,
    types::RDKafkaErrorCode,
};

/// Longest wait for an answer of a broker.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// So long one answer serves all shops of a cluster.
const FRESH: Duration = Duration::from_secs(1);
/// So long a cluster that did not answer is not asked again.
const LEFT_ALONE: Duration = Duration::from_secs(3);

/// Connections by bootstrap servers.
#[derive(Clone, Default)]
pub struct Clusters {
    open: Arc<Mutex<HashMap<String, Cluster>>>,
}

impl Clusters {
    /// The connection to a cluster; opened on first use, and kept.
    pub fn get(&self, brokers: &str) -> Result<Cluster, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = open.get(brokers) {
            return Ok(cluster.clone());
        }
        let admin = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("client.id", crate::OPERATOR)
            .create()
            .map_err(|source| Error::Connect { brokers: brokers.to_owned(), source })?;
        let cluster = Cluster { brokers: brokers.to_owned(), admin: Arc::new(admin), asked: Arc::default() };
        open.insert(brokers.to_owned(), cluster.clone());
        Ok(cluster)
    }
}

/// A connection to one cluster.
#[derive(Clone)]
pub struct Cluster {
    brokers: String,
    admin: Arc<AdminClient<DefaultClientContext>>,
    /// Held while it is asked, so that others wait for that answer.
    asked: Arc<tokio::sync::Mutex<Option<Asked>>>,
}

/// Partitions by topic.
type Partitions = BTreeMap<String, i32>;

/// What a cluster answered, and when.
struct Asked {
    at: Instant,
    answer: Result<Arc<Partitions>, KafkaError>,
}

impl Asked {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < if self.answer.is_ok() { FRESH } else { LEFT_ALONE }
    }
}

/// A topic as it should be.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Topic {
    pub name: String,
    pub partitions: i32,
    pub replication_factor: i32,
    pub compacted: bool,
    /// How long messages are kept, if not as long as the broker keeps any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<i64>,
}

/// Kafka could not be asked, or refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("kafka.brokers `{brokers}` cannot be used: {source}")]
    Connect { brokers: String, source: KafkaError },
    #[error("no broker of `{brokers}` answers: {source}")]
    Unreachable { brokers: String, source: KafkaError },
    #[error("Kafka refused topic `{topic}`: {reason}")]
    Refused { topic: String, reason: String },
    #[error("the thread that asked Kafka ended: {0}")]
    Ended(#[from] tokio::task::JoinError),
}

impl Cluster {
    /// Partitions of each existing topic whose name starts with `prefix`.
    pub async fn topics(&self, prefix: &str) -> Result<Partitions, Error> {
        let all = self.all_topics().await?;
        let ours = all.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        Ok(ours.map(|(name, partitions)| (name.clone(), *partitions)).collect())
    }

    async fn all_topics(&self) -> Result<Arc<Partitions>, Error> {
        let mut asked = self.asked.lock().await;
        if let Some(Asked { answer, .. }) = asked.as_ref().filter(|asked| asked.is_fresh()) {
            return answer.clone().map_err(|source| self.unreachable(source));
        }
        let admin = self.admin.clone();
        let metadata =
            tokio::task::spawn_blocking(move || admin.inner().fetch_metadata(None, TIMEOUT)).await?;
        let partitions = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let answer = metadata.map(|metadata| {
            let topics = metadata.topics().iter();
            Arc::new(
                topics.map(|topic| (topic.name().to_owned(), partitions(topic.partitions().len()))).collect(),
            )
        });
        *asked = Some(Asked { at: Instant::now(), answer: answer.clone() });
        answer.map_err(|source| self.unreachable(source))
    }

    /// Makes topics that are missing and adds partitions that are; never takes anything away. Answers
    /// the names of topics that were made or grown.
    pub async fn ensure(
        &self,
        topics: &[Topic],
        existing: &BTreeMap<String, i32>,
    ) -> Result<Vec<String>, Error> {
        let missing: Vec<_> = topics.iter().filter(|topic| !existing.contains_key(&topic.name)).collect();
        let small: Vec<_> = topics
            .iter()
            .filter(|topic| {
                existing.get(&topic.name).is_some_and(|partitions| *partitions < topic.partitions)
            })
            .collect();
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT));
        if !missing.is_empty() {
            let kept: Vec<_> =
                missing.iter().map(|topic| topic.retention_ms.map(|ms| ms.to_string())).collect();
            let new: Vec<_> =
                missing.iter().zip(&kept).map(|(topic, kept)| new_topic(topic, kept.as_deref())).collect();
            let results = self.admin.create_topics(&new, &options).await.map_err(|e| self.unreachable(e))?;
            accept(results, RDKafkaErrorCode::TopicAlreadyExists)?;
        }
        if !small.is_empty() {
            let grown: Vec<_> = small
                .iter()
                .map(|topic| NewPartitions::new(&topic.name, usize::try_from(topic.partitions).unwrap_or(1)))
                .collect();
            let results =
                self.admin.create_partitions(&grown, &options).await.map_err(|e| self.unreachable(e))?;
            // Another replica of the operator was faster.
            accept(results, RDKafkaErrorCode::InvalidPartitions)?;
        }
        if !missing.is_empty() || !small.is_empty() {
            *self.asked.lock().await = None;
        }
        Ok(missing.iter().chain(&small).map(|topic| topic.name.clone()).collect())
    }

    fn unreachable(&self, source: KafkaError) -> Error {
        Error::Unreachable { brokers: self.brokers.clone(), source }
    }
}

fn new_topic<'a>(topic: &'a Topic, retention_ms: Option<&'a str>) -> NewTopic<'a> {
    let new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(topic.replication_factor));
    // With three copies, a message is acknowledged when two have it.
    let new = if topic.replication_factor >= 3 { new.set("min.insync.replicas", "2") } else { new };
    let new = if topic.compacted { new.set("cleanup.policy", "compact") } else { new };
    match retention_ms {
        Some(kept) => new.set("retention.ms", kept),
        None => new,
    }
}

fn accept(results: Vec<rdkafka::admin::TopicResult>, harmless: RDKafkaErrorCode) -> Result<(), Error> {
    for result in results {
        match result {
            Err((topic, code)) if code != harmless => {
                return Err(Error::Refused { topic, reason: code.to_string() });
            }
            _ => {}
        }
    }
    Ok(())
}
