//! How far a consumer group is behind, partition by partition.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    topic_partition_list::TopicPartitionListElem,
    types::RDKafkaErrorCode,
};

use super::markers::Markers;
use crate::kafka::{Access, trouble::Trouble};

/// Longest wait for one answer from a broker.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A broker's answer did not mention the partition.
const NO_ANSWER: RDKafkaErrorCode = RDKafkaErrorCode::UnknownPartition;

/// Offsets by topic and partition.
type Ends = HashMap<(String, i32), i64>;

/// One partition of a topic the group reads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Partition {
    pub topic: String,
    pub number: i32,
    /// Next message that the group will handle; `None` when it has never committed.
    pub committed: Option<i64>,
    /// First message still in the log.
    pub low: i64,
    /// One past the last message.
    pub high: i64,
    /// No messages are left, only markers of transactions or what an aborted transaction wrote.
    pub only_markers: bool,
}

impl Partition {
    /// Where the group continues. A group that has never committed starts at the beginning of the log, as
    /// our consumers do. So does a group whose commit is older than the log.
    pub fn next(&self) -> i64 {
        self.committed.unwrap_or(self.low).max(self.low)
    }

    /// Messages still to handle. A commit beyond the end of the log (somebody recreated the topic) counts
    /// as none.
    pub fn lag(&self) -> i64 {
        if self.only_markers { 0 } else { (self.high - self.next()).max(0) }
    }
}

/// Whether the lag of partition `number` counts: `all`, or numbers and ranges such as `1,2,10-20`.
pub fn is_counted(limitation: &str, number: i32) -> bool {
    let within = |part: &str| match part.split_once('-') {
        Some((first, last)) => {
            first.parse().is_ok_and(|first: i32| first <= number)
                && last.parse().is_ok_and(|last: i32| number <= last)
        }
        None => part.parse() == Ok(number),
    };
    limitation == "all" || limitation.split(',').any(within)
}

/// Reads the group's offsets. The connection is not a member of the group.
#[derive(Clone)]
pub struct Observer {
    consumer: Arc<BaseConsumer<Trouble>>,
    topics: Vec<String>,
    markers: Arc<Mutex<Markers>>,
}

impl Observer {
    pub fn new(access: &Access, group: &str, topics: Vec<String>) -> Result<Self, KafkaError> {
        let consumer = access
            .client()
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            // Now and then the observer reads one message past the group's position, see `markers`.
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("queued.min.messages", "1")
            .set("fetch.message.max.bytes", "65536")
            .set("fetch.wait.max.ms", "20")
            .create_with_context(Trouble::default())?;
        Ok(Self { consumer: Arc::new(consumer), topics, markers: Arc::default() })
    }

    /// Looks at all partitions of all topics. The number of requests depends on how many brokers and topics
    /// there are, and not on how many partitions. Blocking.
    pub fn look(&self) -> Result<Vec<Partition>, KafkaError> {
        let mut wanted = TopicPartitionList::new();
        for topic in &self.topics {
            let metadata = self.consumer.fetch_metadata(Some(topic), TIMEOUT)?;
            for partition in metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions) {
                wanted.add_partition(topic, partition.id());
            }
        }
        if wanted.count() == 0 {
            return Ok(Vec::new());
        }
        // The order matters: messages that arrive in between count as lag, so the lag is never negative.
        let committed = self.consumer.committed_offsets(wanted.clone(), TIMEOUT)?;
        let (lows, highs) = (self.ends(&wanted, Offset::Beginning)?, self.ends(&wanted, Offset::End)?);
        let mut partitions: Vec<_> = committed
            .elements()
            .iter()
            .map(|element| {
                let partition = (element.topic().to_owned(), element.partition());
                let end =
                    |ends: &Ends| ends.get(&partition).copied().ok_or(KafkaError::OffsetFetch(NO_ANSWER));
                let committed = match element.offset() {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                };
                let (low, high) = (end(&lows)?, end(&highs)?);
                let (topic, number) = partition;
                Ok(Partition { topic, number, committed, low, high, only_markers: false })
            })
            .collect::<Result<_, KafkaError>>()?;
        let mut markers = self.markers.lock().unwrap_or_else(PoisonError::into_inner);
        markers.note(&self.consumer, &mut partitions)?;
        Ok(partitions)
    }

    /// Where each partition begins or ends, with one request per broker. In the protocol both are offsets
    /// at a special time that does not exist.
    fn ends(&self, partitions: &TopicPartitionList, end: Offset) -> Result<Ends, KafkaError> {
        let mut wanted = partitions.clone();
        wanted.set_all_offsets(end)?;
        let found = self.consumer.offsets_for_times(wanted, TIMEOUT)?;
        let known = |element: &TopicPartitionListElem<'_>| {
            element.error()?;
            let partition = (element.topic().to_owned(), element.partition());
            Ok(element.offset().to_raw().filter(|offset| *offset >= 0).map(|offset| (partition, offset)))
        };
        found.elements().iter().filter_map(|element| known(element).transpose()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(committed: Option<i64>) -> Partition {
        Partition { topic: "t".into(), number: 0, committed, low: 100, high: 150, only_markers: false }
    }

    #[test]
    fn k4_a_partition_without_a_commit_counts_from_where_our_consumers_begin() {
        assert_eq!(partition(None).lag(), 50);
        assert_eq!(partition(Some(7)).lag(), 50, "committed before the log was cut");
        assert_eq!(Partition { high: 100, ..partition(None) }.lag(), 0, "of a shop that has sold nothing");
    }

    #[test]
    fn k4_markers_of_transactions_are_no_lag() {
        assert_eq!(Partition { only_markers: true, ..partition(Some(149)) }.lag(), 0);
    }

    #[test]
    fn only_the_partitions_named_count() {
        let counted =
            |limitation| (0..30).filter(|number| is_counted(limitation, *number)).collect::<Vec<_>>();
        assert_eq!(counted("all").len(), 30);
        assert_eq!(counted("1,2,10-12"), [1, 2, 10, 11, 12]);
        assert_eq!(counted("7"), [7]);
        assert!(counted("9-3").is_empty());
    }

    #[test]
    fn a_commit_beyond_the_end_is_no_negative_lag() {
        assert_eq!(partition(Some(200)).lag(), 0);
    }
}
