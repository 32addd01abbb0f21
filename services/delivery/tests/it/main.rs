//! Delivery end to end, on real PostgreSQL and Kafka.

mod addresses;
mod description;
mod shipments;
mod shop;
mod tokens;
