//! Lists a component's dead letters, and sends them back to where they came from.
//!
//! ```text
//!   <topic> ──▶ component ──✗ cannot handle ──▶ <component>.dead-letters: letter, letter, …
//!      ▲                                                     │ one transaction:
//!      └──────────────────── replay ◀────────────────────────┤ the message again,
//!                                                            └ and a receipt for its letter
//! ```
//!
//! Letters stay where they are until Kafka deletes them. A receipt in the same topic says that a letter was
//! sent back. One transaction writes message and receipt, and only the newest producer can write. So two
//! people who replay at once, or a replay that dies on the way, send nothing twice. Anyone who asks for a
//! second replay gets it; if the receiver handled the first, its inbox skips the second as a repetition. A
//! message that still cannot be handled is parked again, as a new letter.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::{Offset, TopicPartitionList};
use time::OffsetDateTime;

use super::dead_letter::{self, ERROR, ORIGIN_OFFSET, ORIGIN_PARTITION, ORIGIN_TOPIC};
use super::fenced::FencedProducer;
use super::producer::Record;
use super::trouble::Trouble;
use crate::config::KafkaConfig;

const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to listen for one event that says why no broker answers, and for how many at most.
const HEARING: Duration = Duration::from_millis(200);
const MANY: usize = 20;
const POLL: Duration = Duration::from_millis(500);
/// How long reading may bring nothing before we give up.
const SILENCE: Duration = Duration::from_secs(30);

/// Header of a message that is sent again: the letter's topic and place.
const REPLAYED_FROM: &str = "replayed-from";
/// Header of a receipt: the place of the letter that was sent back.
const REPLAYED: &str = "replayed";

/// Where a letter lies in its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LetterId {
    pub partition: i32,
    pub offset: i64,
}

impl std::fmt::Display for LetterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.partition, self.offset)
    }
}

impl std::str::FromStr for LetterId {
    type Err = anyhow::Error;

    /// `partition/offset`, or the offset alone in partition 0.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (partition, offset) = text.split_once('/').unwrap_or(("0", text));
        let known = || format!("`{text}` is not a letter: partition/offset, or an offset");
        Ok(Self {
            partition: partition.parse().with_context(known)?,
            offset: offset.parse().with_context(known)?,
        })
    }
}

/// A message that could not be handled, as we parked it.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    pub id: LetterId,
    pub parked_at: Option<OffsetDateTime>,
    /// When it was last sent back, if it was.
    pub replayed_at: Option<OffsetDateTime>,
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// As they came with the message.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub error: String,
    /// Where the message came from: topic (with the shop's prefix), partition and offset.
    pub origin: (String, String, String),
}

impl DeadLetter {
    /// The header `name`, if it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }

    fn read(message: &BorrowedMessage<'_>) -> Self {
        let mut headers: Vec<(String, Option<Vec<u8>>)> = message
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter())
            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            .collect();
        // Parking appends its own headers behind those the message came with, whatever their names.
        let mut take = |name: &str| {
            let last = headers.iter().rposition(|(key, _)| key == name);
            let value = last.and_then(|at| headers.remove(at).1);
            value.map(|value| String::from_utf8_lossy(&value).into_owned()).unwrap_or_default()
        };
        let error = take(ERROR);
        let origin = (take(ORIGIN_TOPIC), take(ORIGIN_PARTITION), take(ORIGIN_OFFSET));
        Self {
            id: LetterId { partition: message.partition(), offset: message.offset() },
            parked_at: time_of(message),
            replayed_at: None,
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers,
            error,
            origin,
        }
    }
}

/// The letter that a message is a receipt for.
fn receipt(message: &BorrowedMessage<'_>) -> Option<LetterId> {
    let mut headers = message.headers()?.iter();
    let value = headers.find(|header| header.key == REPLAYED)?.value?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn time_of(message: &BorrowedMessage<'_>) -> Option<OffsetDateTime> {
    let ms = message.timestamp().to_millis()?;
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()
}

/// The dead letters of one component.
#[derive(Clone, Debug)]
pub struct DeadLetterBox {
    config: KafkaConfig,
    pub component: String,
}

impl DeadLetterBox {
    pub fn of(config: &KafkaConfig, component: &str) -> Self {
        Self { config: config.clone(), component: component.to_owned() }
    }

    /// The boxes of all components of the shop that have one, sorted by component.
    pub async fn all(config: &KafkaConfig) -> anyhow::Result<Vec<Self>> {
        let (asking, prefix) = (config.clone(), config.kafka_topic_prefix.clone());
        let topics = tokio::task::spawn_blocking(move || topics(&consumer(&asking)?)).await??;
        let component = |topic: &String| {
            let rest = topic.strip_prefix(&prefix)?;
            Some(Self::of(config, rest.strip_suffix(dead_letter::SUFFIX)?))
        };
        let mut all: Vec<_> = topics.keys().filter_map(component).collect();
        all.sort_by(|one, other| one.component.cmp(&other.component));
        Ok(all)
    }

    /// With the prefix.
    fn topic(&self) -> String {
        self.config.topic(&dead_letter::topic(&self.component))
    }

    /// Every letter there is, ordered by partition and offset.
    pub async fn letters(&self) -> anyhow::Result<Vec<DeadLetter>> {
        let (config, topic) = (self.config.clone(), self.topic());
        tokio::task::spawn_blocking(move || read(&config, &topic)).await?
    }

    /// Sends all `wanted` letters back to where they came from, with their original key and headers, and
    /// returns them. Once this returns, either all of them are on their way or none.
    pub async fn replay(&self, wanted: impl Fn(&DeadLetter) -> bool) -> anyhow::Result<Vec<DeadLetter>> {
        // From here on no earlier replay can finish, so what we read next stays true.
        let name = format!("{}-replay", dead_letter::topic(&self.component));
        let producer = FencedProducer::take_over(&self.config, &name).await?;
        let mut letters = self.letters().await?;
        letters.retain(wanted);
        let topic = self.topic();
        let mut records = Vec::with_capacity(2 * letters.len());
        for letter in &letters {
            if letter.origin.0.is_empty() {
                bail!("letter {} of {} does not say where it came from", letter.id, self.component);
            }
            let place = letter.id.to_string();
            records.push(Record {
                topic: &letter.origin.0,
                key: letter.key.as_deref(),
                payload: letter.payload.as_deref(),
                headers: headers_of_replay(letter, &format!("{topic}/{place}")),
            });
            records.push(Record {
                topic: &topic,
                key: letter.key.as_deref(),
                payload: None,
                headers: OwnedHeaders::new().insert(Header { key: REPLAYED, value: Some(&place) }),
            });
        }
        producer.send_records(records).await.context("the letters were not sent again")?;
        Ok(letters)
    }
}

fn headers_of_replay(letter: &DeadLetter, from: &str) -> OwnedHeaders {
    let kept = letter.headers.iter().filter(|(key, _)| key != REPLAYED_FROM);
    let headers = kept.fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: value.as_deref() })
    });
    headers.insert(Header { key: REPLAYED_FROM, value: Some(from) })
}

/// A consumer that joins no group, commits nothing, and sees only what was committed.
fn consumer(config: &KafkaConfig) -> anyhow::Result<BaseConsumer<Trouble>> {
    config
        .client("dead-letters")
        // Required by librdkafka.
        .set("group.id", config.group("dead-letters-reader"))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .create_with_context(Trouble::default())
        .context("cannot create a Kafka consumer")
}

/// Every topic of the cluster with its partitions.
fn topics(consumer: &BaseConsumer<Trouble>) -> anyhow::Result<HashMap<String, Vec<i32>>> {
    let metadata = match consumer.fetch_metadata(None, METADATA_TIMEOUT) {
        Ok(metadata) => metadata,
        Err(error) => {
            // Polling delivers the reason.
            (0..MANY).find(|_| consumer.poll(HEARING).is_none());
            let why = format!("no Kafka broker answers{}", consumer.context().because());
            return Err(anyhow::Error::new(error).context(why));
        }
    };
    let partitions = |topic: &rdkafka::metadata::MetadataTopic| {
        topic.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect()
    };
    Ok(metadata.topics().iter().map(|topic| (topic.name().to_owned(), partitions(topic))).collect())
}

/// Blocks until it has reached the ends that the partitions have now.
fn read(config: &KafkaConfig, topic: &str) -> anyhow::Result<Vec<DeadLetter>> {
    let consumer = consumer(config)?;
    // A topic that nobody has created has no letters.
    let mut unread: HashSet<i32> = topics(&consumer)?.remove(topic).into_iter().flatten().collect();
    let mut assignment = TopicPartitionList::new();
    for partition in &unread {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let (mut letters, mut receipts) = (Vec::new(), HashMap::new());
    let mut silent_for = Duration::ZERO;
    while !unread.is_empty() {
        match consumer.poll(POLL) {
            None if silent_for >= SILENCE => bail!("{topic} could not be read to its end"),
            None => silent_for += POLL,
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unread.remove(&partition);
            }
            Some(Err(error)) => return Err(error).with_context(|| format!("cannot read {topic}")),
            Some(Ok(message)) => {
                silent_for = Duration::ZERO;
                match receipt(&message) {
                    Some(id) => _ = receipts.insert(id, time_of(&message)),
                    None => letters.push(DeadLetter::read(&message)),
                }
            }
        }
    }
    for letter in &mut letters {
        letter.replayed_at = receipts.get(&letter.id).map(|at| at.unwrap_or(OffsetDateTime::UNIX_EPOCH));
    }
    letters.sort_by_key(|letter| letter.id);
    Ok(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_named_by_its_place_or_by_its_offset_alone() {
        let at = |partition, offset| LetterId { partition, offset };
        assert_eq!("3/17".parse::<LetterId>().unwrap(), at(3, 17));
        assert_eq!("17".parse::<LetterId>().unwrap(), at(0, 17));
        assert_eq!(at(3, 17).to_string(), "3/17");
        for bad in ["", "x", "1/", "/1", "1/2/3"] {
            assert!(format!("{:#}", bad.parse::<LetterId>().unwrap_err()).contains(bad), "{bad}");
        }
    }
}
