//! What a sale that Redis has lost is rebuilt from: its terms and every order SQL has of it.

use crate::reservation::{Reservation, ReservationState};
use crate::sale::{SaleSpec, SaleState};

/// A lost sale as it is to be again.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The terms, and the fence under which it is rebuilt.
    pub spec: SaleSpec,
    pub state: SaleState,
    /// Counts the attempts to rebuild the sale; of two, Redis follows the higher.
    pub incarnation: i32,
    /// Unix milliseconds: entries of the stream are this young from now on, and so younger than any that
    /// was lost.
    pub stream_from_ms: i64,
    pub reservations: Vec<Remembered>,
}

/// A reservation as SQL remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    pub reservation: Reservation,
    /// Idempotency key and fingerprint of the request; orders made by older versions have none.
    pub wish: Option<(String, String)>,
}

impl Remembered {
    /// How the units of this reservation count: held by a buyer who has yet to pay, or bought.
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
    /// Redis has the sale again, in the state asked for, and waits for somebody to vouch for it.
    Restored,
    /// Redis counted something else than it was given; nothing was swapped in.
    Differs { what: String, found: i64 },
    /// Somebody with a higher incarnation rebuilds it, or has.
    Superseded,
    /// Somebody with a higher fence was here.
    StaleFence { seen: u64 },
}
