//! The order service against a real Redis, PostgreSQL and Kafka. The test plays the payment, the delivery
//! and the catalog service by sending their events.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]
#![allow(unreachable_pub, reason = "nothing outside sees a test; `pub` says which module serves the others")]

mod cancel;
mod cart;
mod checkout;
mod choices;
mod close_out;
mod closed;
mod completion;
mod crowd;
mod declined;
mod deliveries;
mod failover;
mod finding;
mod internal_api;
mod levels;
mod limits;
mod lost_keys;
mod ordinary;
mod outages;
mod purchases;
mod rebuild;
mod rebuild_trouble;
mod redis_cluster;
mod relay;
mod restored;
mod returns;
mod settlement;
mod shelves;
mod shop;
mod skus;
mod waiting;
