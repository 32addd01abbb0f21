//! Redis, PostgreSQL, Kafka and Cassandra as plain processes on loopback, real ones with their real
//! durability settings (but for Cassandra's), for service tests and `cargo xtask dev`.
//!
//! Starting a Redis takes milliseconds, so each test has its own. The others take seconds: all tests of a run
//! share one of each ([`shared`]). A test that stops a server, or fills it, has its own as well.

mod cassandra;
mod certificates;
mod kafka;
mod postgres;
mod redis;
mod redis_cluster;
mod redis_group;
pub mod shared;
#[cfg(test)]
mod tests;

pub use cassandra::Cassandra;
pub use kafka::{Kafka, Secured, Topic};
pub use postgres::Postgres;
pub use redis::Redis;
pub use redis_cluster::RedisCluster;
pub use redis_group::RedisGroup;
