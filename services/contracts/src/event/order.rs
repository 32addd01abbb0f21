//! What order-worker asks of payment and delivery, and tells them of orders.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Line, ORDER_ID, Payload, ReleaseReason, attempt};
use crate::component::Component;
use crate::topic;

/// The order is to be paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaymentRequested {
    pub order_id: Uuid,
    pub sale_id: Uuid,
    pub buyer_id: Uuid,
    pub amount: i64,
    pub currency: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_method_id: Option<Uuid>,
    /// Above 1 when payments of the order came to nothing before; absent: the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    pub pay_by_ms: i64,
}

impl PaymentRequested {
    pub fn attempt(&self) -> i32 {
        attempt(self.attempt)
    }
}

impl Payload for PaymentRequested {
    const TYPE: &'static str = "rocketmart.order.payment_requested.v1";
    const TOPIC: &'static str = topic::ORDERS;
    const KEY: &'static str = ORDER_ID;
    const PRODUCER: Component = Component::OrderWorker;
}

/// The order is paid, and is to be shipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderPaid {
    pub order_id: Uuid,
    pub sale_id: Uuid,
    pub buyer_id: Uuid,
    pub lines: Vec<Line>,
    pub amount: i64,
    pub currency: String,
    pub payment_id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_address_id: Option<Uuid>,
    pub paid_at_ms: i64,
}

impl Payload for OrderPaid {
    const TYPE: &'static str = "rocketmart.order.paid.v1";
    const TOPIC: &'static str = topic::ORDERS;
    const KEY: &'static str = ORDER_ID;
    const PRODUCER: Component = Component::OrderWorker;
}

/// The order holds no units any more, and was not paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderReleased {
    pub order_id: Uuid,
    pub sale_id: Uuid,
    pub buyer_id: Uuid,
    pub reason: ReleaseReason,
}

impl Payload for OrderReleased {
    const TYPE: &'static str = "rocketmart.order.released.v1";
    const TOPIC: &'static str = topic::ORDERS;
    const KEY: &'static str = ORDER_ID;
    const PRODUCER: Component = Component::OrderWorker;
}

/// Money of a payment is to go back.
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Uuid>,
}

impl Payload for RefundRequested {
    const TYPE: &'static str = "rocketmart.order.refund_requested.v1";
    const TOPIC: &'static str = topic::ORDERS;
    const KEY: &'static str = ORDER_ID;
    const PRODUCER: Component = Component::OrderWorker;
}

/// The buyer wants the parcel not to leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelRequested {
    pub order_id: Uuid,
    pub buyer_id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Payload for CancelRequested {
    const TYPE: &'static str = "rocketmart.order.cancel_requested.v1";
    const TOPIC: &'static str = topic::ORDERS;
    const KEY: &'static str = ORDER_ID;
    const PRODUCER: Component = Component::OrderWorker;
}

/// Some units of one SKU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Units {
    #[schema(min_length = 1, max_length = 128)]
    pub sku: String,
    #[schema(minimum = 1)]
    pub quantity: i64,
}

/// The buyer sends these units back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReturnRequested {
    pub return_id: Uuid,
    pub order_id: Uuid,
    pub buyer_id: Uuid,
    pub lines: Vec<Units>,
    pub reason: String,
}

impl Payload for ReturnRequested {
    const TYPE: &'static str = "rocketmart.order.return_requested.v1";
    const TOPIC: &'static str = topic::ORDERS;
    const KEY: &'static str = ORDER_ID;
    const PRODUCER: Component = Component::OrderWorker;
}
