//! Redis, PostgreSQL, Kafka and Cassandra as plain processes on loopback, real ones with their real
//! durability settings (but for Cassandra's), for service tests and `cargo xtask dev`.
//!
//! Starting a Redis takes milliseconds, so each test has its own. The others take seconds: a test
//! process shares one of each ([`Postgres::shared`], [`Kafka::shared`], [`Cassandra::shared`]) and
//! keeps its tests apart by database, by topic prefix and by keyspace.

mod cassandra;
mod certificates;
mod kafka;
mod postgres;
mod redis;
mod redis_cluster;
mod redis_group;
#[cfg(test)]
mod tests;

pub use cassandra::Cassandra;
pub use kafka::{Kafka, Secured, Topic};
pub use postgres::Postgres;
pub use redis::Redis;
pub use redis_cluster::RedisCluster;
pub use redis_group::RedisGroup;
