//! Delivery end to end, on real PostgreSQL and Kafka.

mod addresses;
mod shipments;
mod shop;
mod tokens;
