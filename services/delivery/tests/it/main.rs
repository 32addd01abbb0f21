//! Delivery end to end, on real PostgreSQL and Kafka.

mod addresses;
mod cancellation;
mod returns;
mod shipments;
mod shop;
mod tokens;
