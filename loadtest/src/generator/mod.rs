//! The load: many shoppers, each on its own keep-alive connection, driven by one thread.
//!
//! ```text
//!   pace ──▶ [shopper]──▶ raw HTTP/1.1 ──▶ service
//!              │ × connections
//!              └──▶ latency, answers by status, orders that were promised
//! ```
//! A *closed* loop sends as soon as the last answer is there and finds the peak. An *open* loop sends
//! at intended times whatever the service does, and measures from the intended time: a service that
//! stalls is charged for everybody who would have come meanwhile (no coordinated omission).
//!
//! The generator shares two cores with what it measures, so it must cost little: requests are bytes
//! written as they are, answers are read with `httparse`, and one thread needs no locks.
//! What that saves beside hyper and goose is in `docs/adr/0017`.

mod connection;
mod load;

pub use connection::{Answer, Connection};
pub use load::{Load, Outcome, Pace, Promise, Shopper, Told, run};
