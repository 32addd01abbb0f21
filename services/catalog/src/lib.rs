//! The catalog: what sellers offer, and what members like and wish for.
//!
//! ```text
//!   HTTP ──▶ domain (what becomes of a product) ──▶ store ──┬─▶ products
//!                                                           └─▶ events ──▶ topic `products`
//!   topic `stock-levels` ──▶ availability (beside what products show)
//! ```
//!
//! [`domain`] knows the life of a product and its rules, and does no I/O. [`store`] keeps products, and the
//! events that they leave behind, in PostgreSQL or in Cassandra; should Kafka lose its log, it publishes all
//! of them again. [`http`] is the API, [`api`] the process.

pub mod api;
mod availability;
pub mod domain;
pub mod events;
mod http;
mod retelling;
pub mod store;
