//! Payments end to end: real PostgreSQL and Kafka, and the provider simulator over HTTP.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]
#![allow(unreachable_pub, reason = "nothing outside sees a test; `pub` says which module serves the others")]

mod again;
mod api;
mod authorizing;
mod callbacks;
mod charging;
mod choices;
mod late;
mod methods;
mod reconciliation;
mod refunds;
mod restored;
mod shop;
mod tokens;
