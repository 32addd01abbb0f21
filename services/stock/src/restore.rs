//! What we rebuild a sale from that Redis has lost: its terms, and every order that SQL has of it.

use crate::reservation::{Reservation, ReservationState};
use crate::sale::{SaleSpec, SaleState};

/// How a lost sale should be again.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The terms, and the fence under which it is rebuilt.
    pub spec: SaleSpec,
    pub state: SaleState,
    /// Counts the attempts to rebuild the sale. Redis follows the highest.
    pub incarnation: i32,
    /// Unix milliseconds. From now on every stream entry is at least this young, and so younger than any that
    /// was lost.
    pub stream_from_ms: i64,
    pub reservations: Vec<Remembered>,
}

/// A reservation as SQL remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    pub reservation: Reservation,
    /// Idempotency key and fingerprint of the request. Orders made by older versions have none.
    pub wish: Option<(String, String)>,
}

impl Remembered {
    /// How this reservation's units count: held by a buyer who has yet to pay, or bought.
    pub(crate) fn counts_as(&self) -> Option<Counter> {
        match self.reservation.state {
            ReservationState::Reserved | ReservationState::PaymentSubmitted => Some(Counter::Reserved),
            ReservationState::Confirmed => Some(Counter::Sold),
            ReservationState::Released(_) => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Counter {
    Reserved,
    Sold,
}

/// What came of rebuilding a sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreOutcome {
    /// Redis has the sale again, in the requested state, and waits for somebody to vouch for it.
    Restored,
    /// Redis counted something else than what it was given; nothing was swapped in.
    Differs { what: String, found: i64 },
    /// Somebody with a higher incarnation is rebuilding it, or has.
    Superseded,
    /// Somebody with a higher fence was here.
    StaleFence { seen: u64 },
}
