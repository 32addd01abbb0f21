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
//! It shares no code with the services or with the shoppers: formats are read anew from
//! docs/contracts.md, so that a mistake in one place is not repeated in the other. [`invariants`] is pure
//! and tested against books with one planted error each.

pub mod audit;
pub mod books;
pub mod history;
pub mod invariants;
pub mod stores;
