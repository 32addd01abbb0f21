//! The kit against real PostgreSQL and Kafka, and over real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]
#![allow(unreachable_pub, reason = "nothing outside sees a test; `pub` says which module serves the others")]

mod auth;
mod client;
mod connections;
mod consumer;
mod dead_letters;
mod fenced;
mod idempotency;
mod outbox;
mod owner;
mod progress;
mod reader;
mod recreated;
mod requests;
mod revocations;
mod secured;
mod service;
mod support;
