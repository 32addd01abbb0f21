//! Kafka as the operator sees it: topics, and one connection per cluster.
//!
//! librdkafka connects in the background and blocks while it asks. So everything here runs on blocking
//! threads with a time limit, and a cluster that does not answer holds up only its own shops. Shops on the
//! same cluster share its answers: one request for its topics serves everybody who wants to know at that
//! time, and a cluster that does not answer is left alone for a moment.

mod access;
pub(crate) mod trouble;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    metadata::MetadataTopic,
    types::RDKafkaErrorCode,
};

pub use self::access::{Access, PASSWORD, USER};
use self::trouble::Trouble;

/// Longest wait for an answer from a broker.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// How long one answer serves all shops of a cluster.
const FRESH: Duration = Duration::from_secs(1);
/// How long we leave a cluster alone after it did not answer.
const LEFT_ALONE: Duration = Duration::from_secs(3);

/// The connections of all shops. The Shop controller reads the Secrets and says how to reach each shop's
/// cluster; the autoscaler follows.
#[derive(Clone, Default)]
pub struct Clusters {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By namespace and name.
    shops: HashMap<(String, String), Access>,
    open: HashMap<Access, Cluster>,
}

impl Clusters {
    /// The connection to a shop's cluster. It opens on first use and stays while a shop uses it.
    pub fn of_shop(&self, namespace: &str, shop: &str, access: &Access) -> Result<Cluster, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.shops.insert((namespace.to_owned(), shop.to_owned()), access.clone());
        if let Some(before) = before.filter(|before| before != access)
            && !state.shops.values().any(|used| *used == before)
            && let Some(unused) = state.open.remove(&before)
        {
            // Closing a connection may block.
            drop(std::thread::spawn(move || drop(unused)));
        }
        if let Some(cluster) = state.open.get(access) {
            return Ok(cluster.clone());
        }
        let cluster = Cluster::connect(access)?;
        state.open.insert(access.clone(), cluster.clone());
        Ok(cluster)
    }

    /// How to reach a shop's cluster, once that is known.
    pub fn access_of(&self, namespace: &str, shop: &str) -> Option<Access> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.shops.get(&(namespace.to_owned(), shop.to_owned())).cloned()
    }
}

/// A connection to one cluster.
#[derive(Clone)]
pub struct Cluster {
    access: Access,
    /// Belongs to no group. It asks, and hears what is wrong.
    client: Arc<BaseConsumer<Trouble>>,
    trouble: Trouble,
    /// Locked while we ask, so that others wait for that answer.
    asked: Arc<tokio::sync::Mutex<Option<Asked>>>,
}

/// Partitions by topic.
type Partitions = BTreeMap<String, i32>;

/// What a cluster answered, and when.
struct Asked {
    at: Instant,
    /// The answer, or why there was none.
    answer: Result<Arc<Partitions>, String>,
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
    /// How long messages are kept, if the broker's default does not apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<i64>,
}

/// Kafka did not answer, or refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("kafka.brokers `{brokers}` cannot be used: {source}")]
    Connect { brokers: String, source: KafkaError },
    #[error("no broker of `{brokers}` answers: {why}")]
    Unreachable { brokers: String, why: String },
    #[error("the Secrets that say how to reach Kafka are not there")]
    NoAccess,
    #[error("Kafka refused topic `{topic}`: {reason}")]
    Refused { topic: String, reason: String },
    #[error("the thread that asked Kafka ended: {0}")]
    Ended(#[from] tokio::task::JoinError),
}

impl Cluster {
    /// Connects in the background.
    pub fn connect(access: &Access) -> Result<Self, Error> {
        let trouble = Trouble::default();
        let client = access.client().create_with_context(trouble.clone());
        let client =
            client.map_err(|source| Error::Connect { brokers: access.brokers().to_owned(), source })?;
        Ok(Self { access: access.clone(), client: Arc::new(client), trouble, asked: Arc::default() })
    }

    /// Partitions of each existing topic whose name starts with `prefix`.
    pub async fn topics(&self, prefix: &str) -> Result<Partitions, Error> {
        let all = self.all_topics().await?;
        let ours = all.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        Ok(ours.map(|(name, partitions)| (name.clone(), *partitions)).collect())
    }

    async fn all_topics(&self) -> Result<Arc<Partitions>, Error> {
        let mut asked = self.asked.lock().await;
        if let Some(Asked { answer, .. }) = asked.as_ref().filter(|asked| asked.is_fresh()) {
            return answer.clone().map_err(|why| self.unreachable(why));
        }
        let client = self.client.clone();
        let metadata = tokio::task::spawn_blocking(move || client.fetch_metadata(None, TIMEOUT)).await?;
        let partitions = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let answer = match metadata {
            Ok(metadata) => {
                let topics = metadata.topics().iter();
                let named =
                    |topic: &MetadataTopic| (topic.name().to_owned(), partitions(topic.partitions().len()));
                Ok(Arc::new(topics.map(named).collect()))
            }
            Err(error) => Err(self.why(error).await),
        };
        *asked = Some(Asked { at: Instant::now(), answer: answer.clone() });
        answer.map_err(|why| self.unreachable(why))
    }

    /// Creates missing topics and adds missing partitions, and never removes anything. Returns the names of
    /// the topics that were created or grew.
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
        if missing.is_empty() && small.is_empty() {
            return Ok(Vec::new());
        }
        let admin: AdminClient<DefaultClientContext> = self
            .access
            .client()
            .create()
            .map_err(|source| Error::Connect { brokers: self.access.brokers().to_owned(), source })?;
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT));
        if !missing.is_empty() {
            let kept: Vec<_> =
                missing.iter().map(|topic| topic.retention_ms.map(|ms| ms.to_string())).collect();
            let new: Vec<_> =
                missing.iter().zip(&kept).map(|(topic, kept)| new_topic(topic, kept.as_deref())).collect();
            let results = match admin.create_topics(&new, &options).await {
                Ok(results) => results,
                Err(error) => return Err(self.unreachable(self.why(error).await)),
            };
            accept(results, RDKafkaErrorCode::TopicAlreadyExists)?;
        }
        if !small.is_empty() {
            let grown: Vec<_> = small
                .iter()
                .map(|topic| NewPartitions::new(&topic.name, usize::try_from(topic.partitions).unwrap_or(1)))
                .collect();
            let results = match admin.create_partitions(&grown, &options).await {
                Ok(results) => results,
                Err(error) => return Err(self.unreachable(self.why(error).await)),
            };
            // Another replica of the operator was faster.
            accept(results, RDKafkaErrorCode::InvalidPartitions)?;
        }
        *self.asked.lock().await = None;
        Ok(missing.iter().chain(&small).map(|topic| topic.name.clone()).collect())
    }

    fn unreachable(&self, why: String) -> Error {
        Error::Unreachable { brokers: self.access.brokers().to_owned(), why }
    }

    /// What the client heard besides the error; otherwise the error itself.
    async fn why(&self, error: KafkaError) -> String {
        let (trouble, client) = (self.trouble.clone(), self.client.clone());
        let heard = tokio::task::spawn_blocking(move || trouble.hear(&client)).await;
        heard.ok().flatten().unwrap_or_else(|| error.to_string())
    }
}

fn new_topic<'a>(topic: &'a Topic, retention_ms: Option<&'a str>) -> NewTopic<'a> {
    let new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(topic.replication_factor));
    // With three replicas, a message is acknowledged when two of them have it.
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
