//! What a consumer has collected, and how far it is in each partition.

use std::collections::{HashMap, HashSet};

use rdkafka::message::{BorrowedMessage, Message, OwnedHeaders};
use rdkafka::{Offset, TopicPartitionList};

use super::dead_letter::Letter;
use super::handler::Delivery;
use super::place::Place;
use super::wire;
use crate::config::KafkaConfig;

/// Messages that are handled together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) deliveries: Vec<Delivery>,
    /// Messages that are not events of ours.
    pub(super) unreadable: Vec<Letter>,
    /// Headers beside those that an event has, kept for the dead letter.
    foreign: HashMap<(Place, i64), OwnedHeaders>,
    /// Where each partition goes on once this batch is handled.
    pub(super) progress: Progress,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.deliveries.len() + self.unreadable.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, config: &KafkaConfig, message: &BorrowedMessage<'_>) {
        let (partition, offset) = (message.partition(), message.offset());
        self.progress.advance(Place::new(message.topic(), partition), offset + 1);
        match wire::event(message) {
            Ok(event) => {
                if let Some(headers) = wire::foreign_headers(message) {
                    self.foreign.insert((Place::new(message.topic(), partition), offset), headers);
                }
                let topic = without_prefix(config, message.topic());
                self.deliveries.push(Delivery { topic, partition, offset, event });
            }
            Err(error) => self.unreadable.push(Letter::from_message(message, &error)),
        }
    }

    /// Takes out an event that cannot be handled, so that it can be parked.
    pub(super) fn take_out(
        &mut self,
        config: &KafkaConfig,
        index: usize,
        error: &anyhow::Error,
    ) -> anyhow::Result<Letter> {
        let delivery = &self.deliveries[index];
        let place = Place::new(&config.topic(&delivery.topic), delivery.partition);
        let foreign = self.foreign.remove(&(place, delivery.offset));
        let letter = Letter::from_delivery(config, delivery, foreign, error)?;
        self.deliveries.remove(index);
        Ok(letter)
    }

    /// Drops what came from partitions that now belong to another consumer, which will read it again.
    pub(super) fn forget(&mut self, config: &KafkaConfig, revoked: &HashSet<Place>) {
        if revoked.is_empty() {
            return;
        }
        self.deliveries.retain(|d| !revoked.contains(&Place::new(&config.topic(&d.topic), d.partition)));
        self.unreadable.retain(|letter| !revoked.contains(letter.origin()));
        self.progress.forget(revoked);
    }
}

fn without_prefix(config: &KafkaConfig, topic: &str) -> String {
    topic.strip_prefix(&config.kafka_topic_prefix).unwrap_or(topic).to_owned()
}

/// The next offset of each partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    next: HashMap<Place, i64>,
}

impl Progress {
    pub(super) fn is_empty(&self) -> bool {
        self.next.is_empty()
    }

    pub(super) fn advance(&mut self, place: Place, next: i64) {
        let known = self.next.entry(place).or_insert(next);
        *known = next.max(*known);
    }

    pub(super) fn merge(&mut self, other: Progress) {
        for (place, next) in other.next {
            self.advance(place, next);
        }
    }

    pub(super) fn forget(&mut self, revoked: &HashSet<Place>) {
        self.next.retain(|place, _| !revoked.contains(place));
    }

    /// As librdkafka commits it.
    pub(super) fn to_list(&self) -> rdkafka::error::KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(self.next.len());
        for (place, next) in &self.next {
            list.add_partition_offset(&place.topic, place.partition, Offset::Offset(*next))?;
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    fn config() -> KafkaConfig {
        KafkaConfig::open("", "shop-a.")
    }

    fn batch(places: &[(i32, i64)]) -> Batch {
        let mut batch = Batch::default();
        for &(partition, offset) in places {
            batch.progress.advance(Place::new("shop-a.orders", partition), offset + 1);
            let event = Event::new("/rocketmart/test", "test", partition, &offset);
            batch.deliveries.push(Delivery { topic: "orders".to_owned(), partition, offset, event });
        }
        batch
    }

    #[test]
    fn what_a_revoked_partition_gave_is_neither_handled_nor_committed() {
        let mut batch = batch(&[(0, 10), (1, 20), (0, 11)]);
        batch.forget(&config(), &HashSet::from([Place::new("shop-a.orders", 0)]));
        assert_eq!(batch.deliveries.iter().map(|d| d.offset).collect::<Vec<_>>(), [20]);
        let mut expected = Progress::default();
        expected.advance(Place::new("shop-a.orders", 1), 21);
        assert_eq!(batch.progress, expected);
    }

    #[test]
    fn progress_never_goes_back() {
        let mut progress = batch(&[(0, 10)]).progress;
        progress.merge(batch(&[(0, 7), (1, 3)]).progress);
        let list = progress.to_list().unwrap();
        let next = |partition| list.find_partition("shop-a.orders", partition).unwrap().offset();
        assert_eq!((next(0), next(1)), (Offset::Offset(11), Offset::Offset(4)));
    }
}
