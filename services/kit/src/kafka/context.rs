//! What librdkafka reports to a consumer besides messages: rebalances, errors, statistics.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::{ClientContext, Statistics};

use super::place::Place;
use super::recreated::Recreated;
use super::trouble::Trouble;

/// Shared between librdkafka's callbacks, the consumer's loop and its readiness gate.
#[derive(Clone, Default)]
pub(super) struct Context {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    revoked: Mutex<HashSet<Place>>,
    joined: AtomicBool,
    connected: AtomicBool,
    trouble: Trouble,
}

impl Context {
    /// Partitions revoked since the last call.
    ///
    /// Callbacks run while the consumer is polled. So what this returns right after a poll was revoked before
    /// the message that the poll returned.
    pub(super) fn take_revoked(&self) -> HashSet<Place> {
        std::mem::take(&mut *self.shared.revoked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn recreated(&self) -> &Recreated {
        self.shared.trouble.recreated()
    }

    /// An error while the consumer is not a member of its group, or no broker answers.
    pub(super) fn ready(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.shared.connected.load(Ordering::Relaxed),
            "no Kafka broker answers{}",
            self.shared.trouble.because()
        );
        anyhow::ensure!(self.shared.joined.load(Ordering::Relaxed), "not yet a member of the consumer group");
        Ok(())
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.recreated().hear(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.shared.trouble.note(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let connected = statistics.brokers.values().any(|broker| broker.nodeid >= 0 && broker.state == "UP");
        self.shared.connected.store(connected, Ordering::Relaxed);
        if let Some(group) = &statistics.cgrp {
            self.shared.joined.store(group.state == "up" && group.join_state == "steady", Ordering::Relaxed);
        }
        for (name, topic) in &statistics.topics {
            let lag: i64 = topic.partitions.values().map(|partition| partition.consumer_lag.max(0)).sum();
            #[expect(clippy::cast_precision_loss, reason = "a lag beyond 2^52 messages is not told apart")]
            metrics::gauge!("kafka_consumer_lag", "topic" => name.clone()).set(lag as f64);
        }
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => {
                tracing::info!(partitions = partitions.count(), "partitions assigned");
            }
            Rebalance::Revoke(partitions) => {
                tracing::info!(partitions = partitions.count(), "partitions revoked");
                let mut revoked = self.shared.revoked.lock().unwrap_or_else(PoisonError::into_inner);
                revoked.extend(partitions.elements().iter().map(|p| Place::new(p.topic(), p.partition())));
            }
            Rebalance::Error(error) => tracing::warn!(%error, "rebalance failed"),
        }
    }
}
