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
//! Two replicas run. The one that holds the Lease ([`leader`]) runs the controllers; the other waits. A
//! lease alone does not keep a paused leader from acting later, so every command that moves stock carries a
//! fencing token made from the Lease. [`admin`] serves probes and metrics on both.

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

/// The operator's name as a field manager, in Events and in labels.
pub const OPERATOR: &str = "rocketmart-operator";
