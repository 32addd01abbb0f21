//! The events payments read and write (docs/contracts.md, "Events").

use rocketmart_contracts::component::Component;
use rocketmart_contracts::event::{
    OfOrder, OrderReleased, PaymentFailed, PaymentRefundFailed, PaymentRefunded, PaymentRequested,
    PaymentSucceeded, RefundRequested,
};
pub(crate) use rocketmart_contracts::topic::PAYMENTS;
use rocketmart_kit::event::Event;
use rocketmart_kit::event_schema::{Published, Read};
use time::OffsetDateTime;
use uuid::Uuid;

const SOURCE: &str = "/rocketmart/payment-worker";

/// What payment-worker writes, by type.
pub fn published() -> Vec<Published> {
    vec![
        Published::of::<PaymentSucceeded>(),
        Published::of::<PaymentFailed>(),
        Published::of::<PaymentRefunded>(),
        Published::of::<PaymentRefundFailed>(),
    ]
}

/// What payment-worker reads, by type.
pub fn read() -> Vec<Read> {
    let worker = Component::PaymentWorker;
    vec![
        Read::of::<PaymentRequested>(worker),
        Read::part_of::<OrderReleased, OfOrder>(worker),
        Read::of::<RefundRequested>(worker),
    ]
}

/// A refund, made or not: the events about both say the same of it.
#[derive(Clone, Copy, Debug)]
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
    pub(crate) reference: Option<Uuid>,
}

pub(crate) fn succeeded(
    payment_id: Uuid,
    order_id: Uuid,
    amount: i64,
    currency: &str,
    at: OffsetDateTime,
) -> Event {
    let currency = currency.to_owned();
    let data = PaymentSucceeded { payment_id, order_id, amount, currency, succeeded_at_ms: milliseconds(at) };
    Event::of(SOURCE, order_id, &data)
}

pub(crate) fn failed(payment_id: Uuid, order_id: Uuid, reason: &str, request: i32, closed: bool) -> Event {
    let attempt = (request > 1).then_some(request);
    let data = PaymentFailed { payment_id, order_id, reason: reason.to_owned(), attempt, closed };
    Event::of(SOURCE, order_id, &data)
}

pub(crate) fn refunded(refund: &Refund<'_>) -> Event {
    let Refund { payment_id, refund_id, order_id, amount, currency, reason, reference } = *refund;
    let (currency, reason) = (currency.to_owned(), reason.to_owned());
    let data = PaymentRefunded { payment_id, refund_id, order_id, amount, currency, reason, reference };
    Event::of(SOURCE, order_id, &data)
}

pub(crate) fn refund_failed(refund: &Refund<'_>) -> Event {
    let Refund { payment_id, refund_id, order_id, amount, currency, reason, reference } = *refund;
    let (currency, reason) = (currency.to_owned(), reason.to_owned());
    let data = PaymentRefundFailed { payment_id, refund_id, order_id, amount, currency, reason, reference };
    Event::of(SOURCE, order_id, &data)
}

fn milliseconds(at: OffsetDateTime) -> i64 {
    at.unix_timestamp() * 1_000 + i64::from(at.millisecond())
}
