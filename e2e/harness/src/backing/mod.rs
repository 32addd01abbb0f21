//! Redis, PostgreSQL, Kafka and Cassandra as plain processes on loopback, for service tests and `cargo xtask
//! dev`. They are the real servers with their real durability settings (except Cassandra's).
//!
//! A Redis starts in milliseconds, so each test has its own. The others take seconds, so all tests of a run
//! share one of each ([`shared`]). A test that stops or fills a server starts its own.

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
