//! The events payments read and write (docs/contracts.md, "Events").

use rocketmart_contracts::component::Component;
pub(crate) use rocketmart_contracts::topic::PAYMENTS;
use rocketmart_kit::event::Event;
use rocketmart_kit::event_schema::{Published, Read};
use rocketmart_kit::trace::TraceContext;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

const SOURCE: &str = "/rocketmart/payment-worker";

pub(crate) const PAYMENT_REQUESTED: &str = "rocketmart.order.payment_requested.v1";
pub(crate) const ORDER_RELEASED: &str = "rocketmart.order.released.v1";
pub(crate) const REFUND_REQUESTED: &str = "rocketmart.order.refund_requested.v1";

const SUCCEEDED: &str = "rocketmart.payment.succeeded.v1";
const FAILED: &str = "rocketmart.payment.failed.v1";
const REFUNDED: &str = "rocketmart.payment.refunded.v1";
const REFUND_FAILED: &str = "rocketmart.payment.refund_failed.v1";

/// What payment-worker writes, by type.
pub fn published() -> Vec<Published> {
    let (key, worker) = ("order id", Component::PaymentWorker.as_str());
    vec![
        Published::of::<Succeeded<'_>>(SUCCEEDED, PAYMENTS, key, worker),
        Published::of::<Failed<'_>>(FAILED, PAYMENTS, key, worker),
        Published::of::<Refund<'_>>(REFUNDED, PAYMENTS, key, worker),
        Published::of::<Refund<'_>>(REFUND_FAILED, PAYMENTS, key, worker),
    ]
}

/// What payment-worker reads, by type.
pub fn read() -> Vec<Read> {
    let worker = Component::PaymentWorker.as_str();
    vec![
        Read::of::<PaymentRequested>(PAYMENT_REQUESTED, worker),
        Read::of::<OrderReleased>(ORDER_RELEASED, worker),
        Read::of::<RefundRequested>(REFUND_REQUESTED, worker),
    ]
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct PaymentRequested {
    pub(crate) order_id: Uuid,
    pub(crate) buyer_id: Uuid,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    #[serde(default)]
    pub(crate) payment_method_id: Option<Uuid>,
    /// Above 1 when the order has asked before and it came to nothing.
    #[serde(default)]
    pub(crate) attempt: Option<i32>,
    pub(crate) pay_by_ms: i64,
    /// From the event, not its data.
    #[serde(skip)]
    pub(crate) traceparent: Option<String>,
    /// When it was asked for; likewise.
    #[serde(skip)]
    pub(crate) asked_at: Option<OffsetDateTime>,
}

impl PaymentRequested {
    /// Which request of its order this is, from 1 on.
    pub(crate) fn request(&self) -> i32 {
        self.attempt.unwrap_or(1)
    }

    /// What is outside the calendar counts as long past, and is then not charged.
    pub(crate) fn pay_by(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.pay_by_ms) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct OrderReleased {
    pub(crate) order_id: Uuid,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct RefundRequested {
    pub(crate) order_id: Uuid,
    pub(crate) payment_id: Uuid,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) reference: Option<Uuid>,
    /// From the event, not its data.
    #[serde(skip)]
    pub(crate) traceparent: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Succeeded<'a> {
    payment_id: Uuid,
    order_id: Uuid,
    amount: i64,
    currency: &'a str,
    succeeded_at_ms: i64,
}

#[derive(Serialize, ToSchema)]
struct Failed<'a> {
    payment_id: Uuid,
    order_id: Uuid,
    reason: &'a str,
    /// As the request had it, above 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<i32>,
    /// Nothing is charged for the order any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    closed: bool,
}

/// A refund, made or not: the events about both look the same.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Refund<'a> {
    pub(crate) payment_id: Uuid,
    pub(crate) refund_id: Uuid,
    pub(crate) order_id: Uuid,
    /// Minor units.
    pub(crate) amount: i64,
    pub(crate) currency: &'a str,
    /// Why it was asked for; or why it failed.
    pub(crate) reason: &'a str,
    /// As the request had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<Uuid>,
}

pub(crate) fn succeeded(
    payment_id: Uuid,
    order_id: Uuid,
    amount: i64,
    currency: &str,
    at: OffsetDateTime,
) -> Event {
    let data = Succeeded { payment_id, order_id, amount, currency, succeeded_at_ms: milliseconds(at) };
    Event::new(SOURCE, SUCCEEDED, order_id, &data)
}

pub(crate) fn failed(payment_id: Uuid, order_id: Uuid, reason: &str, request: i32, closed: bool) -> Event {
    let attempt = (request > 1).then_some(request);
    let data = Failed { payment_id, order_id, reason, attempt, closed };
    Event::new(SOURCE, FAILED, order_id, &data)
}

pub(crate) fn refunded(refund: &Refund<'_>) -> Event {
    Event::new(SOURCE, REFUNDED, refund.order_id, refund)
}

pub(crate) fn refund_failed(refund: &Refund<'_>) -> Event {
    Event::new(SOURCE, REFUND_FAILED, refund.order_id, refund)
}

/// The event as a part of the trace that led to it, however long ago.
pub(crate) fn in_trace(mut event: Event, parent: Option<&str>) -> Event {
    let parent = parent.and_then(|parent| parent.parse::<TraceContext>().ok());
    event.traceparent = parent.map(|parent| parent.child().to_string());
    event
}

fn milliseconds(at: OffsetDateTime) -> i64 {
    at.unix_timestamp() * 1_000 + i64::from(at.millisecond())
}
