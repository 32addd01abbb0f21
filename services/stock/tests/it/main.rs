//! The engine against a real Redis with `appendfsync always`.

#![allow(unreachable_pub, reason = "nothing outside sees a test; `pub` says which module serves the others")]
#![expect(clippy::unwrap_used, reason = "fixtures fail as loudly as tests")]

mod against_the_model;
mod cluster;
mod coalescing;
mod completeness;
mod deadlines;
mod durability;
mod explored;
mod failover;
mod keys;
mod loading;
mod model;
mod owner;
mod promises;
mod restoring;
mod stream;
mod support;
mod tls;
mod vouching;
