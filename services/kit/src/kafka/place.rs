//! A partition of a topic: the unit in which progress is counted, and in which a rebalance revokes.

/// The topic's full name and the partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) topic: String,
    pub(super) partition: i32,
}

impl Place {
    pub(super) fn new(topic: &str, partition: i32) -> Self {
        Self { topic: topic.to_owned(), partition }
    }
}
