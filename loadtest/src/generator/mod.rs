//! The load: many shoppers, each on its own keep-alive connection, driven by one thread.
//!
//! ```text
//!   pace ──▶ [shopper]──▶ raw HTTP/1.1 ──▶ service
//!              │ × connections
//!              └──▶ latency, answers by status, orders that were promised
//! ```
//! A *closed* loop sends as soon as the last answer is there and finds the peak. An *open* loop sends at
//! intended times, whatever the service does, and measures from the intended time. So a service that stalls
//! is charged for everybody who would have come meanwhile (no coordinated omission).
//!
//! The generator shares two cores with what it measures, so it must cost little: requests are bytes that are
//! written as they are, `httparse` reads the answers, and one thread needs no locks. `docs/adr/0017` says how
//! much that saves compared with hyper and goose.

mod connection;
mod load;

pub use connection::{Answer, Connection};
pub use load::{Load, Outcome, Pace, Promise, Shopper, Told, run};
