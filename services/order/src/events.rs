//! The events this service reads and writes, as `docs/contracts.md` defines them.
//!
//! Times that end in `_ms` are Unix milliseconds by Redis' clock; `amount` and `unit_price` are
//! integer minor units of `currency`.

use rocketmart_contracts::component::Component;
pub use rocketmart_contracts::topic::{DELIVERIES, ORDERS, PAYMENTS, PRODUCTS, RESERVATIONS, STOCK_LEVELS};
use rocketmart_kit::event_schema::{Published, Read};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::order::{Line, Units};

/// `ce_type` of every event this service knows.
pub mod types {
    pub const RESERVED: &str = "rocketmart.reservation.reserved.v1";
    pub const PAYMENT_SUBMITTED: &str = "rocketmart.reservation.payment_submitted.v1";
    pub const RELEASED: &str = "rocketmart.reservation.released.v1";
    pub const PAYMENT_REQUESTED: &str = "rocketmart.order.payment_requested.v1";
    pub const ORDER_PAID: &str = "rocketmart.order.paid.v1";
    pub const ORDER_RELEASED: &str = "rocketmart.order.released.v1";
    pub const REFUND_REQUESTED: &str = "rocketmart.order.refund_requested.v1";
    pub const CANCEL_REQUESTED: &str = "rocketmart.order.cancel_requested.v1";
    pub const RETURN_REQUESTED: &str = "rocketmart.order.return_requested.v1";
    pub const STOCK_LEVEL_CHANGED: &str = "rocketmart.stock.level_changed.v1";
    pub const PAYMENT_SUCCEEDED: &str = "rocketmart.payment.succeeded.v1";
    pub const PAYMENT_FAILED: &str = "rocketmart.payment.failed.v1";
    pub const PAYMENT_REFUNDED: &str = "rocketmart.payment.refunded.v1";
    pub const PAYMENT_REFUND_FAILED: &str = "rocketmart.payment.refund_failed.v1";
    pub const SHIPMENT_UPDATED: &str = "rocketmart.shipment.updated.v1";
    pub const CANCEL_REFUSED: &str = "rocketmart.shipment.cancel_refused.v1";
    pub const RETURN_UPDATED: &str = "rocketmart.return.updated.v1";
    pub const PRODUCT_CHANGED: &str = "rocketmart.product.changed.v1";
}

/// Why units went back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseReason {
    Expired,
    Cancelled,
    PaymentFailed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reserved {
    pub order_id: Uuid,
    pub sale_id: Uuid,
    pub buyer_id: Uuid,
    pub lines: Vec<Line>,
    pub amount: i64,
    pub currency: String,
    pub reserved_at_ms: i64,
    pub pay_by_ms: i64,
    /// With the fingerprint of the request, what makes its repetition the same purchase. Redis of older
    /// versions told neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_hash: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaymentSubmitted {
    pub order_id: Uuid,
    pub sale_id: Uuid,
    pub buyer_id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_method_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_address_id: Option<Uuid>,
    /// The number of this payment for its order; absent: the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    pub submitted_at_ms: i64,
}

impl PaymentSubmitted {
    pub fn attempt(&self) -> i32 {
        self.attempt.unwrap_or(1)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Released {
    pub order_id: Uuid,
    pub sale_id: Uuid,
    pub reason: ReleaseReason,
    pub released_at_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaymentSucceeded {
    pub payment_id: Uuid,
    pub order_id: Uuid,
    pub amount: i64,
    pub currency: String,
    pub succeeded_at_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaymentFailed {
    pub payment_id: Uuid,
    pub order_id: Uuid,
    pub reason: String,
    /// As its request had it; absent: the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// Nothing is charged for the order any more, in whatever way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
}

impl PaymentFailed {
    pub fn attempt(&self) -> i32 {
        self.attempt.unwrap_or(1)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaymentRefunded {
    pub payment_id: Uuid,
    pub refund_id: Uuid,
    pub order_id: Uuid,
    pub amount: i64,
    pub currency: String,
    pub reason: String,
    /// What was asked for it: see [`RefundRequested::reference`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Uuid>,
}

/// Money that should have gone back and did not; somebody has to look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaymentRefundFailed {
    pub payment_id: Uuid,
    pub refund_id: Uuid,
    pub order_id: Uuid,
    pub amount: i64,
    pub currency: String,
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Uuid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShipmentState {
    Preparing,
    Shipped,
    Delivered,
    /// It will not be handed to the carrier: a cancellation came first.
    Cancelled,
}

/// A cancellation came too late: the parcel is on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelRefused {
    pub shipment_id: Uuid,
    pub order_id: Uuid,
    /// Where the parcel is, in the words of the delivery service.
    pub state: String,
}

/// How far a return has come. The wire uses the `snake_case` name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReturnStep {
    Announced,
    InTransit,
    Received,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReturnUpdated {
    pub return_id: Uuid,
    pub order_id: Uuid,
    pub state: ReturnStep,
    pub at_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking_number: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShipmentUpdated {
    pub shipment_id: Uuid,
    pub order_id: Uuid,
    pub state: ShipmentState,
    pub at_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking_number: Option<String>,
}

/// The parts of a product the order service cares for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProductChanged {
    pub product_id: Uuid,
    pub seller_id: Uuid,
    pub version: i64,
    /// `draft`, `published` or `withdrawn`.
    pub state: ProductState,
    pub title: String,
    pub currency: String,
    pub variants: Vec<Variant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProductState {
    Draft,
    Published,
    Withdrawn,
}

impl ProductState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Withdrawn => "withdrawn",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Variant {
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaymentRequested {
    pub order_id: Uuid,
    pub sale_id: Uuid,
    pub buyer_id: Uuid,
    pub amount: i64,
    pub currency: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_method_id: Option<Uuid>,
    /// Above 1 when payments of the order came to nothing before; absent: the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    pub pay_by_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderPaid {
    pub order_id: Uuid,
    pub sale_id: Uuid,
    pub buyer_id: Uuid,
    pub lines: Vec<Line>,
    pub amount: i64,
    pub currency: String,
    pub payment_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_address_id: Option<Uuid>,
    pub paid_at_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderReleased {
    pub order_id: Uuid,
    pub sale_id: Uuid,
    pub buyer_id: Uuid,
    pub reason: ReleaseReason,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefundRequested {
    pub order_id: Uuid,
    pub payment_id: Uuid,
    pub amount: i64,
    pub currency: String,
    /// `order_released`, `amount_differs`, `already_paid`, `order_cancelled` or `order_returned`.
    pub reason: String,
    /// What the money is for, if the order was paid: the order's id when it was cancelled, the
    /// return's id when something was returned. One reference is given back once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelRequested {
    pub order_id: Uuid,
    pub buyer_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReturnRequested {
    pub return_id: Uuid,
    pub order_id: Uuid,
    pub buyer_id: Uuid,
    pub lines: Vec<Units>,
    pub reason: String,
}

/// How many units of a SKU can be had as ordinary stock: neither promised to a flash sale nor held by a buyer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StockLevel {
    pub sku: String,
    /// Whose the SKU is. What is told of another product's does not count.
    pub product_id: Uuid,
    #[schema(minimum = 0)]
    pub available: i64,
    /// Of two levels of a SKU the later has the greater.
    pub version: i64,
}

/// What the order service tells the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderEvent {
    PaymentRequested(PaymentRequested),
    Paid(OrderPaid),
    Released(OrderReleased),
    RefundRequested(RefundRequested),
    CancelRequested(CancelRequested),
    ReturnRequested(ReturnRequested),
}

impl OrderEvent {
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::PaymentRequested(_) => types::PAYMENT_REQUESTED,
            Self::Paid(_) => types::ORDER_PAID,
            Self::Released(_) => types::ORDER_RELEASED,
            Self::RefundRequested(_) => types::REFUND_REQUESTED,
            Self::CancelRequested(_) => types::CANCEL_REQUESTED,
            Self::ReturnRequested(_) => types::RETURN_REQUESTED,
        }
    }

    pub fn order_id(&self) -> Uuid {
        match self {
            Self::PaymentRequested(data) => data.order_id,
            Self::Paid(data) => data.order_id,
            Self::Released(data) => data.order_id,
            Self::RefundRequested(data) => data.order_id,
            Self::CancelRequested(data) => data.order_id,
            Self::ReturnRequested(data) => data.order_id,
        }
    }
}

impl Serialize for OrderEvent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::PaymentRequested(data) => data.serialize(serializer),
            Self::Paid(data) => data.serialize(serializer),
            Self::Released(data) => data.serialize(serializer),
            Self::RefundRequested(data) => data.serialize(serializer),
            Self::CancelRequested(data) => data.serialize(serializer),
            Self::ReturnRequested(data) => data.serialize(serializer),
        }
    }
}

const ORDER_ID: &str = "order id";

/// What this service's components write, by type.
pub fn published() -> Vec<Published> {
    let (relay, worker) = (Component::OrderRelay.as_str(), Component::OrderWorker.as_str());
    vec![
        Published::of::<Reserved>(types::RESERVED, RESERVATIONS, ORDER_ID, relay),
        Published::of::<PaymentSubmitted>(types::PAYMENT_SUBMITTED, RESERVATIONS, ORDER_ID, relay),
        Published::of::<Released>(types::RELEASED, RESERVATIONS, ORDER_ID, relay),
        Published::of::<PaymentRequested>(types::PAYMENT_REQUESTED, ORDERS, ORDER_ID, worker),
        Published::of::<OrderPaid>(types::ORDER_PAID, ORDERS, ORDER_ID, worker),
        Published::of::<OrderReleased>(types::ORDER_RELEASED, ORDERS, ORDER_ID, worker),
        Published::of::<RefundRequested>(types::REFUND_REQUESTED, ORDERS, ORDER_ID, worker),
        Published::of::<CancelRequested>(types::CANCEL_REQUESTED, ORDERS, ORDER_ID, worker),
        Published::of::<ReturnRequested>(types::RETURN_REQUESTED, ORDERS, ORDER_ID, worker),
        Published::of::<StockLevel>(types::STOCK_LEVEL_CHANGED, STOCK_LEVELS, "sku", worker),
    ]
}

/// What order-worker reads, by type.
pub fn read() -> Vec<Read> {
    let worker = Component::OrderWorker.as_str();
    vec![
        Read::of::<Reserved>(types::RESERVED, worker),
        Read::of::<PaymentSubmitted>(types::PAYMENT_SUBMITTED, worker),
        Read::of::<Released>(types::RELEASED, worker),
        Read::of::<PaymentSucceeded>(types::PAYMENT_SUCCEEDED, worker),
        Read::of::<PaymentFailed>(types::PAYMENT_FAILED, worker),
        Read::of::<PaymentRefunded>(types::PAYMENT_REFUNDED, worker),
        Read::of::<PaymentRefundFailed>(types::PAYMENT_REFUND_FAILED, worker),
        Read::of::<ShipmentUpdated>(types::SHIPMENT_UPDATED, worker),
        Read::of::<CancelRefused>(types::CANCEL_REFUSED, worker),
        Read::of::<ReturnUpdated>(types::RETURN_UPDATED, worker),
        Read::of::<ProductChanged>(types::PRODUCT_CHANGED, worker),
    ]
}
