//! Nothing lost, nothing oversold, whatever dies.
//!
//! ```text
//!   rows / campaign ──▶ run ──▶ a sale on the shop of `world` (processes, proxies, a disk and a network of its own)
//!                        │
//!                        ├─ shoppers (rocketmart-loadtest) ──▶ history, one line per request
//!                        ├─ faults, again and again; a probe buyer buys and pays until that works again
//!                        └─ close, drain, close-out, then the auditor (rocketmart-checker)
//!                                                            │
//!                                                            ▼
//!                                        report: JSON in target/faults, docs/faults.md
//! ```
//!
//! A row passes when no invariant is broken and the slowest recovery is within its bound. A row that could
//! not do what its name says has failed. A failed row leaves logs and databases beside its outcome.

pub mod campaign;
mod command;
pub mod disk;
mod evidence;
pub mod fault;
pub mod fixture;
pub mod known_bugs;
pub mod network;
pub mod overload;
pub mod packets;
pub mod probe;
pub mod products;
pub mod report;
pub mod rows;
pub mod run;
pub mod strangers;
pub mod world;
