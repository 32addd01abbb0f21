//! Payments end to end: real PostgreSQL and Kafka, and the provider simulator over HTTP.

mod api;
mod authorizing;
mod callbacks;
mod charging;
mod late;
mod methods;
mod reconciliation;
mod refunds;
mod shop;
mod tokens;
