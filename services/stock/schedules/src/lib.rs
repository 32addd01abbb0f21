//! The lanes of `rocketmart-stock`, the same file, on [shuttle]'s locks, atomics and tasks: shuttle decides at
//! each of them who goes on, so that a test sees interleavings that two cores show once in a year, and can
//! repeat the one that was wrong.
//!
//! ```text
//!   callers ──┐                  ┌── one lane: gathers, calls, closes when idle
//!             ├── lane.rs ───────┤
//!   a clock ──┘                  └── calls that take turns, fail, or take long
//! ```
//! Channels are tokio's own and count as one step each; [`sync`] has the rest.

mod error {
    pub(crate) use rocketmart_stock::StockError;
}
mod id {
    pub(crate) use rocketmart_stock::SaleId;
}
#[path = "../../src/lane.rs"]
mod lane;
mod play;
mod sync;

pub use play::play;
