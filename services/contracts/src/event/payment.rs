//! What became of charges and refunds, as payment-worker tells it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{ORDER_ID, Payload, attempt};
use crate::component::Component;
use crate::topic;

/// The money is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaymentSucceeded {
    pub payment_id: Uuid,
    pub order_id: Uuid,
    pub amount: i64,
    pub currency: String,
    pub succeeded_at_ms: i64,
}

impl Payload for PaymentSucceeded {
    const TYPE: &'static str = "rocketmart.payment.succeeded.v1";
    const TOPIC: &'static str = topic::PAYMENTS;
    const KEY: &'static str = ORDER_ID;
    const PRODUCER: Component = Component::PaymentWorker;
}

/// Nothing was charged, and nothing will be for this request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaymentFailed {
    pub payment_id: Uuid,
    pub order_id: Uuid,
    pub reason: String,
    /// As the request had it, above 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// Nothing is charged for the order any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
}

impl PaymentFailed {
    pub fn attempt(&self) -> i32 {
        attempt(self.attempt)
    }
}

impl Payload for PaymentFailed {
    const TYPE: &'static str = "rocketmart.payment.failed.v1";
    const TOPIC: &'static str = topic::PAYMENTS;
    const KEY: &'static str = ORDER_ID;
    const PRODUCER: Component = Component::PaymentWorker;
}

/// Money went back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaymentRefunded {
    pub payment_id: Uuid,
    pub refund_id: Uuid,
    pub order_id: Uuid,
    /// Minor units.
    pub amount: i64,
    pub currency: String,
    /// Why it was asked for; or why it failed.
    pub reason: String,
    /// As the request had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Uuid>,
}

impl Payload for PaymentRefunded {
    const TYPE: &'static str = "rocketmart.payment.refunded.v1";
    const TOPIC: &'static str = topic::PAYMENTS;
    const KEY: &'static str = ORDER_ID;
    const PRODUCER: Component = Component::PaymentWorker;
}

/// Money that should have gone back and did not; somebody has to look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaymentRefundFailed {
    pub payment_id: Uuid,
    pub refund_id: Uuid,
    pub order_id: Uuid,
    /// Minor units.
    pub amount: i64,
    pub currency: String,
    /// Why it was asked for; or why it failed.
    pub reason: String,
    /// As the request had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Uuid>,
}

impl Payload for PaymentRefundFailed {
    const TYPE: &'static str = "rocketmart.payment.refund_failed.v1";
    const TOPIC: &'static str = topic::PAYMENTS;
    const KEY: &'static str = ORDER_ID;
    const PRODUCER: Component = Component::PaymentWorker;
}
