//! Whether there is any message between where a group stands and where a log ends.
//!
//! A transaction ends with a marker. It takes an offset as a message does, is handed to no consumer, and so a group
//! never commits past the last one: at rest each partition that is written in transactions ends one beyond what was
//! committed, and so does one whose last messages belong to a transaction that was given up. That is no lag.
//!
//! Only the log can tell. A partition that stands still from one look to the next, with something left, is read
//! from where the group stands: the first message or the end of the log tells, once for each place and end. One
//! that moves is not read, for what is left there is mostly messages.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};

use super::lag::Partition;
use crate::kafka::trouble::Trouble;

/// Longest time that partitions of one topic are read for.
const READING: Duration = Duration::from_secs(2);

/// What is known of partitions that have something left.
#[derive(Debug, Default)]
pub(super) struct Markers {
    standing: HashMap<(String, i32), Standing>,
}

/// A partition as it stood at the last look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Standing {
    from: i64,
    high: i64,
    /// Whether there is a message between, once the log was read.
    message: Option<bool>,
}

impl Markers {
    /// Notes in each partition whether nothing but markers is left of it. Blocking.
    pub(super) fn note(
        &mut self,
        reader: &BaseConsumer<Trouble>,
        partitions: &mut [Partition],
    ) -> Result<(), KafkaError> {
        let mut before = std::mem::take(&mut self.standing);
        let mut unread: BTreeMap<String, Vec<(i32, i64)>> = BTreeMap::new();
        for partition in partitions.iter().filter(|partition| partition.next() < partition.high) {
            let key = (partition.topic.clone(), partition.number);
            let now = Standing { from: partition.next(), high: partition.high, message: None };
            let known = before.remove(&key).filter(|then| (then.from, then.high) == (now.from, now.high));
            if known.is_some_and(|known| known.message.is_none()) {
                unread.entry(key.0.clone()).or_default().push((key.1, now.from));
            }
            self.standing.insert(key, known.unwrap_or(now));
        }
        for (topic, places) in unread {
            for (number, message) in read(reader, &topic, &places)? {
                if let Some(standing) = self.standing.get_mut(&(topic.clone(), number)) {
                    standing.message = Some(message);
                }
            }
        }
        for partition in partitions {
            let standing = self.standing.get(&(partition.topic.clone(), partition.number));
            partition.only_markers = standing.is_some_and(|standing| standing.message == Some(false));
        }
        Ok(())
    }
}

/// Whether a message comes before the end of each partition, reading from these offsets; nothing of those that did
/// not tell in time.
fn read(
    reader: &BaseConsumer<Trouble>,
    topic: &str,
    places: &[(i32, i64)],
) -> Result<HashMap<i32, bool>, KafkaError> {
    let mut assignment = TopicPartitionList::new();
    for (number, from) in places {
        assignment.add_partition_offset(topic, *number, Offset::Offset(*from))?;
    }
    reader.assign(&assignment)?;
    let (mut found, until) = (HashMap::new(), Instant::now() + READING);
    while found.len() < places.len() {
        let left = until.saturating_duration_since(Instant::now());
        match reader.poll(left) {
            Some(Ok(message)) => _ = found.insert(message.partition(), true),
            Some(Err(KafkaError::PartitionEOF(number))) => _ = found.entry(number).or_insert(false),
            // A broker is away for a moment; whoever asks for the lag hears of that.
            Some(Err(_)) | None if left.is_zero() => break,
            Some(Err(_)) | None => {}
        }
    }
    reader.unassign()?;
    Ok(found)
}
