//! Whether any message lies between a group's position and the end of a log.
//!
//! A transaction ends with a marker. The marker takes up an offset like a message, but no consumer ever
//! receives it, so a group never commits past the last one. At rest, each partition that is written in
//! transactions ends one beyond the commit. A partition that ends with an aborted transaction looks the
//! same. Neither is lag.
//!
//! Only the log can tell. When a partition stands still from one look to the next and something is left, we
//! read it from the group's position. The first message, or the end of the log, gives the answer, once for
//! each position and end. We do not read a partition that moves: most of what is left there is messages.

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

/// Longest time to spend reading the partitions of one topic.
const READING: Duration = Duration::from_secs(2);

/// What is known about partitions that have something left.
#[derive(Debug, Default)]
pub(super) struct Markers {
    standing: HashMap<(String, i32), Standing>,
}

/// A partition as it stood at the last look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Standing {
    from: i64,
    high: i64,
    /// Whether there is a message in between, once the log was read.
    message: Option<bool>,
}

impl Markers {
    /// Notes for each partition whether only markers are left in it. Blocking.
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

/// Whether a message comes before the end of each partition, reading from these offsets. Partitions that
/// did not answer in time are left out.
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
            // A broker is away for a moment. Whoever asks for the lag hears about that.
            Some(Err(_)) | None if left.is_zero() => break,
            Some(Err(_)) | None => {}
        }
    }
    reader.unassign()?;
    Ok(found)
}
