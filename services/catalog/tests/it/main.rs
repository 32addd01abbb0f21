//! The catalog as its callers see it: over HTTP, with real PostgreSQL and Kafka.

#![allow(unreachable_pub, reason = "nothing outside sees a test; `pub` says which module serves the others")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]

mod bad_input;
mod events;
mod marks;
mod products;
mod shop;
