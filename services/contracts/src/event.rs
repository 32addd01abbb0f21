//! What services tell each other: the data of every event, declared once for who writes it and who reads it.
//!
//! ```text
//!   order-relay ─────▶ reservations ──▶ order-worker
//!   order-worker ────▶ orders ────────▶ payment-worker, delivery-worker
//!   payment-worker ──▶ payments ──────▶ order-worker
//!   delivery-worker ─▶ deliveries ────▶ order-worker
//!   catalog ─────────▶ products ──────▶ order-worker, search
//!   order-worker ────▶ stock-levels ──▶ catalog, search
//! ```
//!
//! Producers and receivers are rolled out one after the other, and topics hold events of the version before. So
//! data grows by fields that may be missing: each has a `default`, and is left out when there is nothing to say.
//! Fields that a receiver does not know are passed over. docs/events has the schemas that every change is compared
//! with.
//!
//! Times that end in `_ms` are Unix milliseconds, those of reservations by Redis' clock; `amount` and `unit_price`
//! are integer minor units of `currency`.

mod delivery;
mod order;
mod payment;
mod product;
mod reservation;
mod stock_level;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

pub use self::{
    delivery::{CancelRefused, ReturnState, ReturnUpdated, ShipmentState, ShipmentUpdated},
    order::{
        CancelRequested, OrderPaid, OrderReleased, PaymentRequested, RefundRequested, ReturnRequested, Units,
    },
    payment::{PaymentFailed, PaymentRefundFailed, PaymentRefunded, PaymentSucceeded},
    product::{ProductChanged, ProductState, Variant},
    reservation::{Line, PaymentSubmitted, ReleaseReason, Released, Reserved},
    stock_level::StockLevel,
};
use crate::component::Component;

/// The data of one type of events.
pub trait Payload: Serialize + DeserializeOwned + ToSchema {
    /// `ce_type`.
    const TYPE: &'static str;
    /// Without the shop's prefix.
    const TOPIC: &'static str;
    /// What the key of the message is, in words.
    const KEY: &'static str;
    /// Who writes it.
    const PRODUCER: Component;
}

/// The order that an event is about: all that some receivers need of it. Reasons and states that are yet to come
/// do not stop them.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub struct OfOrder {
    pub order_id: Uuid,
}

const ORDER_ID: &str = "order id";

/// The number of a payment among those of its order, which the first one need not tell.
fn attempt(told: Option<i32>) -> i32 {
    told.unwrap_or(1)
}

#[cfg(test)]
mod tests;
