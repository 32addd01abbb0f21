//! Delivery end to end, on real PostgreSQL and Kafka.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]
#![allow(unreachable_pub, reason = "nothing outside sees a test; `pub` says which module serves the others")]

mod addresses;
mod cancellation;
mod returns;
mod shipments;
mod shop;
mod tokens;
