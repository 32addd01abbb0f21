//! The events this service reads and writes (docs/contracts.md, "Events").

use rocketmart_contracts::component::Component;
use rocketmart_contracts::event::{
    CancelRefused, CancelRequested, OrderPaid, OrderReleased, PaymentFailed, PaymentRefundFailed,
    PaymentRefunded, PaymentRequested, PaymentSubmitted, PaymentSucceeded, ProductChanged, ProductState,
    RefundRequested, Released, Reserved, ReturnRequested, ReturnUpdated, ShipmentUpdated, StockLevel,
};
use rocketmart_kit::event_schema::{Published, Read};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// What this service's components write, by type.
pub fn published() -> Vec<Published> {
    vec![
        Published::of::<Reserved>(),
        Published::of::<PaymentSubmitted>(),
        Published::of::<Released>(),
        Published::of::<PaymentRequested>(),
        Published::of::<OrderPaid>(),
        Published::of::<OrderReleased>(),
        Published::of::<RefundRequested>(),
        Published::of::<CancelRequested>(),
        Published::of::<ReturnRequested>(),
        Published::of::<StockLevel>(),
    ]
}

/// What order-worker reads, by type.
pub fn read() -> Vec<Read> {
    let worker = Component::OrderWorker;
    vec![
        Read::of::<Reserved>(worker),
        Read::of::<PaymentSubmitted>(worker),
        Read::of::<Released>(worker),
        Read::of::<PaymentSucceeded>(worker),
        Read::of::<PaymentFailed>(worker),
        Read::of::<PaymentRefunded>(worker),
        Read::of::<PaymentRefundFailed>(worker),
        Read::of::<ShipmentUpdated>(worker),
        Read::of::<CancelRefused>(worker),
        Read::of::<ReturnUpdated>(worker),
        Read::part_of::<ProductChanged, ProductSnapshot>(worker),
    ]
}

/// The parts of a product the order service cares for.
///
/// A type of its own and not the payload: it is kept in PostgreSQL too (`sku_heirs`), without what nobody here
/// reads. That the payload has all it needs is tested beside docs/events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProductSnapshot {
    pub product_id: Uuid,
    pub seller_id: Uuid,
    pub version: i64,
    /// `draft`, `published` or `withdrawn`.
    pub state: ProductState,
    pub title: String,
    pub currency: String,
    pub variants: Vec<VariantSnapshot>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VariantSnapshot {
    pub sku: String,
    pub price: i64,
    /// Units on hand as the seller counted last, corrected by differences since.
    pub quantity: i64,
    /// Of two products that had the SKU, the later has the greater number. Older catalogs told none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<i64>,
    /// The version in which the quantity was counted. Older catalogs told none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_in: Option<i64>,
}
