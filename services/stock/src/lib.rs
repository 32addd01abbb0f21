//! The reservation engine: units of a sale are reserved, paid for or given back by atomic functions
//! in Redis, and nowhere else.

mod coalescer;
mod error;
mod event;
mod id;
mod reservation;
mod sale;
mod stock;

pub use coalescer::{Coalescer, CoalescerLimits};
pub use error::StockError;
pub use event::{StreamEntry, StreamEvent};
pub use id::{BuyerId, OrderId, SaleId};
pub use reservation::{
    ConfirmOutcome, Line, PaymentDetails, PaymentOutcome, PricedLine, ReleaseOutcome, ReleaseReason,
    Reservation, ReservationState, Reserve, ReserveOutcome, SubmitPayment,
};
pub use sale::{
    ItemCounters, ItemSpec, LoadOutcome, MAX_MONEY, PurgeOutcome, SaleCounters, SaleSpec, SaleState,
    SetStateOutcome, SpecConflict,
};
pub use stock::Stock;
