//! What the tests, the demo and `cargo xtask` run on.
//!
//! Two ways to a running system come from here. As plain processes on loopback, up in seconds, for
//! service tests and `cargo xtask dev`: [`backing`] (Redis, PostgreSQL, Kafka), the API server with
//! etcd, and the whole shop ([`stack`]). As a genuine Kubernetes node in a network namespace of its own, for the demo and the
//! end-to-end tests. Everything that is built or downloaded once lies in a cache outside the
//! checkout ([`cache`]), and everything that takes long reports itself ([`step`]).
//!
//! The crate has almost no dependencies on purpose: it is compiled before anything else can show a
//! first line of progress.

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
