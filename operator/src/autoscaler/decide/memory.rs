//! What the autoscaler remembers about a group between decisions, and what it measures along the way.

use std::collections::{HashMap, VecDeque};

use super::to_f64;
use crate::autoscaler::lag::Partition;

/// The time over which rates are measured.
const RATE_WINDOW_MS: i64 = 10_000;
/// A partition is stuck when it has lag and its offset stands still for this long although somebody works
/// on it.
pub(super) const STUCK_MS: i64 = 10_000;
const REMEMBERED_MS: i64 = 3_600_000;
/// A group that has changed its size handles nothing while it shares out its partitions again. It gets this
/// long to resume before it may grow further.
const SETTLING_MS: i64 = 15_000;

/// One look at the group.
#[derive(Clone, Debug)]
pub struct Look {
    pub at_ms: i64,
    pub partitions: Vec<Partition>,
    /// Replicas that were ready at that time.
    pub ready: i32,
}

/// What is remembered between decisions. A new process starts with nothing, so it shrinks nothing until it
/// has seen a whole window.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub(super) looks: VecDeque<Look>,
    /// Looks that failed in a row.
    pub(super) failures: i32,
    pub(super) started_ms: Option<i64>,
    /// When there was last something to do.
    pub(super) active_ms: Option<i64>,
    pub(super) wishes: VecDeque<(i64, i32)>,
    /// The number of running replicas, noted at every change.
    pub(super) sizes: VecDeque<(i64, i32)>,
    /// Where each partition stands, and since when it has stood there with lag and with somebody at work on
    /// it.
    still_since: HashMap<(String, i32), (i64, i64)>,
    pub(super) rate_per_replica: Option<f64>,
    settling: Option<Settling>,
}

/// A group that has changed its size and has not been seen to resume since.
#[derive(Clone, Copy, Debug)]
struct Settling {
    since_ms: i64,
    size: i32,
    /// What it had handled by the time all of it was ready.
    handled: Option<i64>,
}

impl Memory {
    /// Takes in a look, or the news that Kafka did not answer.
    pub fn remember(&mut self, now_ms: i64, look: Option<Look>) {
        self.started_ms.get_or_insert(now_ms);
        let Some(look) = look else {
            self.failures = self.failures.saturating_add(1);
            return;
        };
        self.failures = 0;
        for partition in &look.partitions {
            let (next, key) = (partition.next(), (partition.topic.clone(), partition.number));
            let still = self.still_since.entry(key).or_insert((next, look.at_ms));
            if still.0 != next || partition.lag() == 0 || look.ready == 0 {
                *still = (next, look.at_ms);
            }
        }
        self.measure_rate(&look);
        self.settle(&look);
        self.looks.push_back(look);
        while self.looks.len() > 2 && self.looks[1].at_ms <= now_ms - RATE_WINDOW_MS {
            self.looks.pop_front();
        }
    }

    /// What one replica handles per second, measured while there is always something to handle.
    fn measure_rate(&mut self, look: &Look) {
        let Some(before) = self.looks.back() else { return };
        let handled = committed(look) - committed(before);
        let seconds = to_f64(look.at_ms - before.at_ms) / 1_000.0;
        let busy =
            look.partitions.iter().any(|partition| partition.committed.is_some_and(|at| at < partition.high));
        if handled > 0 && busy && look.ready > 0 && seconds > 0.0 {
            let rate = to_f64(handled) / seconds / f64::from(look.ready);
            self.rate_per_replica = Some(self.rate_per_replica.map_or(rate, |old| old * 0.7 + rate * 0.3));
        }
    }

    /// A group has settled once it is ready in its new size and handles messages again.
    fn settle(&mut self, look: &Look) {
        let Some(settling) = &mut self.settling else { return };
        match settling.handled {
            None if look.ready >= settling.size => settling.handled = Some(committed(look)),
            Some(handled) if committed(look) > handled => self.settling = None,
            _ => {}
        }
    }

    /// Notes how many replicas were wanted.
    pub(super) fn wished(&mut self, now_ms: i64, replicas: i32) {
        self.wishes.push_back((now_ms, replicas));
        self.wishes.retain(|(at, _)| *at > now_ms - REMEMBERED_MS);
    }

    /// Notes how many replicas run.
    pub(super) fn sized(&mut self, now_ms: i64, size: i32) {
        let before = self.sizes.back().map(|(_, before)| *before);
        if before != Some(size) {
            self.sizes.push_back((now_ms, size));
            self.settling = before.map(|_| Settling { since_ms: now_ms, size, handled: None });
        }
        self.sizes.retain(|(at, _)| *at > now_ms - REMEMBERED_MS);
        self.settling = self.settling.filter(|settling| now_ms - settling.since_ms < SETTLING_MS);
    }

    /// Whether the group may still be sharing out its partitions.
    pub(super) fn is_settling(&self) -> bool {
        self.settling.is_some()
    }

    pub(super) fn arrivals_per_second(&self) -> f64 {
        let (Some(first), Some(last)) = (self.looks.front(), self.looks.back()) else { return 0.0 };
        let seconds = to_f64(last.at_ms - first.at_ms) / 1_000.0;
        if seconds <= 0.0 {
            return 0.0;
        }
        let end = |look: &Look| look.partitions.iter().map(|partition| partition.high).sum::<i64>();
        to_f64((end(last) - end(first)).max(0)) / seconds
    }

    pub(super) fn is_stuck(&self, partition: &Partition, now_ms: i64) -> bool {
        self.still_since
            .get(&(partition.topic.clone(), partition.number))
            .is_some_and(|(_, since)| now_ms - since >= STUCK_MS)
    }
}

fn committed(look: &Look) -> i64 {
    look.partitions.iter().filter_map(|partition| partition.committed).sum()
}
