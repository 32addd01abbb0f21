//! What Redis decided about reservations. Its functions write this data, and order-relay carries it on byte by byte.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{ORDER_ID, Payload, attempt};
use crate::component::Component;
use crate::topic;

/// One SKU of an order. `unit_price` in minor units of the order's currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Line {
    pub sku: String,
    pub quantity: i64,
    pub unit_price: i64,
}

/// Units are held for a buyer until `pay_by_ms`.
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

impl Payload for Reserved {
    const TYPE: &'static str = "rocketmart.reservation.reserved.v1";
    const TOPIC: &'static str = topic::RESERVATIONS;
    const KEY: &'static str = ORDER_ID;
    const PRODUCER: Component = Component::OrderRelay;
}

/// The buyer asked to pay, in time.
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
        attempt(self.attempt)
    }
}

impl Payload for PaymentSubmitted {
    const TYPE: &'static str = "rocketmart.reservation.payment_submitted.v1";
    const TOPIC: &'static str = topic::RESERVATIONS;
    const KEY: &'static str = ORDER_ID;
    const PRODUCER: Component = Component::OrderRelay;
}

/// Why units went back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseReason {
    Expired,
    Cancelled,
    PaymentFailed,
}

/// The units are on sale again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Released {
    pub order_id: Uuid,
    pub sale_id: Uuid,
    pub reason: ReleaseReason,
    pub released_at_ms: i64,
}

impl Payload for Released {
    const TYPE: &'static str = "rocketmart.reservation.released.v1";
    const TOPIC: &'static str = topic::RESERVATIONS;
    const KEY: &'static str = ORDER_ID;
    const PRODUCER: Component = Component::OrderRelay;
}
