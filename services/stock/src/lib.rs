//! The reservation engine: atomic functions in Redis, and nothing else, reserve units of a sale, mark them as
//! paid, or give them back.
//!
//! ```text
//!  purchases ──> Coalescer ──┐                                ┌─ stock, held, keys (hashes)
//!  payments  ──> (lane.rs)   ├─> Stock ── FCALL ─> functions ─┼─ reservations, deadlines
//!  relay, worker, internal ──┘   (stock/)        (.lua)       └─ events (stream) ──> relay
//! ```
//!
//! [`Stock`] is the typed client: one method, one function, one atomic step. Every answer is an enum of
//! everything that Redis can decide. [`Coalescer`] stands before it on the purchase path and turns many small
//! calls into few large ones. `functions.lua` documents and explains what the functions do to the data;
//! [`StockError`] says what you may believe when no answer comes.
//!
//! Invariants kept here: `preloaded = remaining + reserved + sold` with none of them negative (I1, I2), a
//! buyer's limit (I5), one order per idempotency key (I6), and one decision per reservation.

mod cluster;
mod coalescer;
mod connection;
mod durability;
mod error;
mod event;
mod id;
mod keys;
mod lane;
mod library;
mod owner;
mod reply;
mod reservation;
mod restore;
mod route;
mod sale;
mod sentinel;
mod server;
mod slots;
mod sold_out;
mod stock;
mod sync;

pub use coalescer::{Coalescer, CoalescerLimits};
pub use durability::{Durability, believe_any_settings};
pub use error::StockError;
pub use event::{StreamEntry, StreamEvent, StreamPosition};
pub use id::{BuyerId, OrderId, SaleId};
pub use library::release_unchecked;
pub use reservation::{
    AcceptedKey, ConfirmOutcome, CurrentPrice, DeclineOutcome, Expired, Line, PaymentDetails, PaymentOutcome,
    PricedLine, ReleaseOutcome, ReleaseReason, Reservation, ReservationState, Reserve, ReserveOutcome,
    SubmitPayment,
};
pub use restore::{Remembered, Restore, RestoreOutcome};
pub use sale::{
    ItemCounters, ItemSpec, LoadOutcome, MAX_MONEY, PurgeOutcome, SaleCounters, SaleSpec, SaleState,
    SetStateOutcome, SpecConflict, VouchOutcome,
};
pub use server::{ClusterNodes, SentinelGroup, Server, Trusted};
pub use stock::Stock;
