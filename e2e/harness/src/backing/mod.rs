//! Redis, PostgreSQL and Kafka as plain processes on loopback, real ones with their real durability
//! settings, for service tests and `cargo xtask dev`.
//!
//! Starting a Redis takes milliseconds, so each test has its own. PostgreSQL and Kafka take seconds:
//! a test process shares one of each ([`Postgres::shared`], [`Kafka::shared`]) and keeps its tests
//! apart by database and by topic prefix.

mod kafka;
mod postgres;
mod redis;
#[cfg(test)]
mod tests;

pub use kafka::{Kafka, Topic};
pub use postgres::Postgres;
pub use redis::Redis;
