//! The kit against real PostgreSQL and Kafka, and over real sockets.

mod auth;
mod client;
mod consumer;
mod idempotency;
mod outbox;
mod reader;
mod service;
mod support;
