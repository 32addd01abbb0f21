//! The operator of Rocket Mart.
//!
//! ```text
//!            Lease ── leader ──┐ (fence)
//!                              ▼
//!   Shop ──────────► controllers::shop ──► Deployments, Services, routes, keys, topics
//!                              ▲
//!   FlashSale ─────► controllers::flash_sale ──► the shop's order service: load, open, close, books
//!                              ▲
//!   Kafka lag ─────► autoscaler ──► replicas of workers, never below the sale's floor
//! ```
//!
//! Two replicas run; the one that holds the Lease ([`leader`]) runs the controllers, the other waits.
//! Since a lease alone does not keep a paused leader from acting later, every command that moves stock
//! carries a fencing token made from the Lease. [`admin`] answers probes and metrics on both.

pub mod admin;
pub mod autoscaler;
pub mod conditions;
pub mod config;
pub mod context;
pub mod controllers;
pub mod gateway_api;
pub mod kafka;
pub mod leader;
mod requests;
mod run;
pub mod telemetry;

pub use config::Config;
pub use context::Context;
pub use run::run;

/// Name of the operator as field manager, in events and in labels.
pub const OPERATOR: &str = "rocketmart-operator";
