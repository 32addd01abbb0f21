//! What the components stand on: Redis, PostgreSQL and Kafka, started at the same time.

use std::thread;

use anyhow::{Result, anyhow};

use super::Component;
use crate::{
    backing::{Kafka, Postgres, Redis, Topic},
    ports,
};

const TOPICS: [&str; 6] = ["reservations", "orders", "payments", "deliveries", "products", "stock-levels"];
/// The topics that keep the last event of each key for ever.
const COMPACTED: [&str; 2] = ["products", "stock-levels"];
const PARTITIONS: i32 = 3;

/// The three stores of one shop. Each can be killed, signalled and restarted on its own.
#[derive(Debug)]
pub struct Backing {
    pub redis: Redis,
    pub postgres: Postgres,
    pub kafka: Kafka,
}

impl Backing {
    pub fn start() -> Result<Self> {
        let port = ports::free_port()?;
        Self::start_with(Redis::start, port, port)
    }

    /// Uses the caller's Redis (with another directory or settings). Kafka listens on the caller's port and
    /// sends its clients to another one, where a proxy may be.
    pub fn start_with(
        redis: impl FnOnce() -> Result<Redis>,
        kafka_port: u16,
        kafka_advertised_port: u16,
    ) -> Result<Self> {
        thread::scope(|scope| {
            let postgres = scope.spawn(|| {
                let postgres = Postgres::start()?;
                for database in Self::databases() {
                    postgres.create_database(database)?;
                }
                Ok(postgres)
            });
            let kafka = scope.spawn(move || Kafka::start_advertising(kafka_port, kafka_advertised_port));
            let redis = redis();
            let backing = Self { redis: redis?, postgres: joined(postgres)?, kafka: joined(kafka)? };
            backing.create_topics()?;
            Ok(backing)
        })
    }

    /// The databases of a shop.
    pub fn databases() -> Vec<&'static str> {
        let mut databases: Vec<_> = Component::ALL.into_iter().filter_map(Component::database).collect();
        databases.dedup();
        databases
    }

    /// Makes the topics of a shop, as the operator does: consumers are not ready without them.
    pub fn create_topics(&self) -> Result<()> {
        self.kafka.create_topics(&TOPICS.map(|name| Topic {
            name,
            partitions: PARTITIONS,
            compacted: COMPACTED.contains(&name),
        }))
    }
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a thread that starts a store panicked"))?
}
