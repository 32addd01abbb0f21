//! The engine against a real Redis with `appendfsync always`.

#![expect(clippy::unwrap_used, reason = "fixtures fail as loudly as tests")]

mod against_the_model;
mod coalescing;
mod durability;
mod explored;
mod loading;
mod model;
mod promises;
mod stream;
mod support;
