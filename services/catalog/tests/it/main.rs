//! The catalog as its callers see it: over HTTP, with real PostgreSQL and Kafka.

mod bad_input;
mod events;
mod marks;
mod products;
mod shop;
