//! The lanes of `rocketmart-stock`, from the same file, on [shuttle]'s locks, atomics and tasks. At each of
//! them shuttle decides who goes on. So a test sees interleavings that two cores show once a year, and can
//! repeat the one that went wrong.
//!
//! ```text
//!   callers ──┐                  ┌── one lane: gathers, calls, closes when idle
//!             ├── lane.rs ───────┤
//!   a clock ──┘                  └── calls that take turns, fail, or take long
//! ```
//! Channels are tokio's own, and each counts as one step; [`sync`] has the rest.

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
