//! What the tests, the demo and `cargo xtask` run on.
//!
//! Two ways to a running system start here. Plain processes on loopback, up in seconds, serve service tests
//! and `cargo xtask dev`: [`backing`] (Redis, PostgreSQL, Kafka), the API server with etcd, and the whole
//! shop ([`stack`]). A genuine Kubernetes node in its own network namespace serves the demo and the
//! end-to-end tests. Everything that is built or downloaded once is cached outside the checkout ([`cache`]),
//! and everything that takes long reports itself ([`step`]).
//!
//! The crate has almost no dependencies on purpose: it must compile before anything can print a first line of
//! progress.

pub mod apiserver;
pub mod backing;
pub mod cache;
pub mod checkout;
pub mod cluster;
pub mod command;
pub mod documents;
pub mod maven;
pub mod node;
pub mod ports;
pub mod prepare;
pub mod process;
pub mod programs;
pub mod record;
pub mod stack;
pub mod step;
