//! The auditor: compares what shoppers were told with what the stores hold.
//!
//! ```text
//! shoppers' history ─┐
//! Redis              │
//! PostgreSQL ×3      ├─ books ── invariants I1–I7 ── findings, one line each
//! Kafka              │
//! payment provider  ─┘
//! ```
//!
//! It shares no code with the services or the shoppers. It reads the formats afresh from docs/contracts.md,
//! so that a mistake in one place is not repeated in the other. [`invariants`] is pure; its tests plant one
//! error at a time in balanced books.

pub mod audit;
pub mod books;
pub mod history;
pub mod invariants;
pub mod stores;
