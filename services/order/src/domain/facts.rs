//! Facts for tests: what happens to one order of two mugs at 5 EUR, as the others report it.

use rocketmart_contracts::event::{
    CancelRefused, PaymentFailed, PaymentRefundFailed, PaymentRefunded, PaymentSubmitted, PaymentSucceeded,
    ReleaseReason, Released, Reserved, ReturnState, ReturnUpdated, ShipmentState, ShipmentUpdated,
};
use uuid::Uuid;

use super::batch::{Applied, Batch, Fact, Outcome};
use super::ledger::Move;
use super::order::{Line, Verdict};

pub(crate) const SALE: Uuid = Uuid::from_u128(1);
pub(crate) const ORDER: Uuid = Uuid::from_u128(2);
pub(crate) const BUYER: Uuid = Uuid::from_u128(3);
pub(crate) const PAYMENT: Uuid = Uuid::from_u128(4);

pub(crate) fn reserved() -> Fact {
    Fact::Reserved(Reserved {
        order_id: ORDER,
        sale_id: SALE,
        buyer_id: BUYER,
        lines: vec![Line { sku: "MUG".into(), quantity: 2, unit_price: 500 }],
        amount: 1000,
        currency: "EUR".into(),
        reserved_at_ms: 10,
        pay_by_ms: 20,
        idempotency_key: None,
        request_hash: None,
    })
}

pub(crate) fn submitted() -> Fact {
    Fact::PaymentSubmitted(PaymentSubmitted {
        order_id: ORDER,
        sale_id: SALE,
        buyer_id: BUYER,
        payment_method_id: None,
        delivery_address_id: Some(Uuid::from_u128(9)),
        attempt: None,
        submitted_at_ms: 11,
    })
}

pub(crate) fn released(reason: ReleaseReason) -> Fact {
    Fact::Released(Released { order_id: ORDER, sale_id: SALE, reason, released_at_ms: 21 })
}

pub(crate) fn succeeded(payment_id: Uuid, amount: i64, verdict: Verdict) -> Fact {
    let currency = "EUR".into();
    Fact::PaymentSucceeded(
        PaymentSucceeded { payment_id, order_id: ORDER, amount, currency, succeeded_at_ms: 15 },
        verdict,
    )
}

pub(crate) fn failed(verdict: Verdict) -> Fact {
    failed_attempt(None, verdict)
}

pub(crate) fn failed_attempt(attempt: Option<i32>, verdict: Verdict) -> Fact {
    let (reason, closed) = ("declined".into(), false);
    Fact::PaymentFailed(
        PaymentFailed { payment_id: PAYMENT, order_id: ORDER, reason, attempt, closed },
        verdict,
    )
}

pub(crate) fn shipment(state: ShipmentState) -> Fact {
    Fact::ShipmentUpdated(ShipmentUpdated {
        shipment_id: Uuid::from_u128(7),
        order_id: ORDER,
        state,
        at_ms: 30,
        tracking_number: None,
    })
}

pub(crate) fn run(facts: impl IntoIterator<Item = Fact>) -> Outcome {
    batch(facts).finish()
}

pub(crate) fn ledger(outcome: &Outcome) -> Move {
    outcome.effects.ledger.get(&(SALE, "MUG".into())).copied().unwrap_or_default()
}

pub(crate) fn told(outcome: &Outcome) -> Vec<&'static str> {
    outcome.effects.emitted.iter().map(|e| e.event.event_type()).collect()
}

/// The whole way to the buyer's door; delivered at 30.
pub(crate) fn delivered() -> [Fact; 4] {
    [reserved(), submitted(), succeeded(PAYMENT, 1000, Verdict::Won), shipment(ShipmentState::Delivered)]
}

pub(crate) fn paid() -> [Fact; 3] {
    [reserved(), submitted(), succeeded(PAYMENT, 1000, Verdict::Won)]
}

pub(crate) fn cancel_refused() -> Fact {
    Fact::CancelRefused(CancelRefused {
        shipment_id: Uuid::from_u128(7),
        order_id: ORDER,
        state: ShipmentState::Shipped,
    })
}

pub(crate) fn return_is(return_id: Uuid, state: ReturnState) -> Fact {
    Fact::ReturnUpdated(ReturnUpdated {
        return_id,
        order_id: ORDER,
        state,
        at_ms: 50,
        tracking_number: Some("BACK1".into()),
    })
}

pub(crate) fn refunded(reference: Uuid, amount: i64) -> Fact {
    money_back(Some(reference), amount)
}

/// The provider refunded money without being asked.
pub(crate) fn refunded_unasked(amount: i64) -> Fact {
    money_back(None, amount)
}

fn money_back(reference: Option<Uuid>, amount: i64) -> Fact {
    Fact::PaymentRefunded(PaymentRefunded {
        payment_id: PAYMENT,
        refund_id: Uuid::now_v7(),
        order_id: ORDER,
        amount,
        currency: "EUR".into(),
        reason: "asked".into(),
        reference,
    })
}

pub(crate) fn refund_failed(reference: Uuid, amount: i64) -> Fact {
    Fact::PaymentRefundFailed(PaymentRefundFailed {
        payment_id: PAYMENT,
        refund_id: Uuid::now_v7(),
        order_id: ORDER,
        amount,
        currency: "EUR".into(),
        reason: "provider_refused".into(),
        reference: Some(reference),
    })
}

/// A batch to which these facts were applied.
pub(crate) fn batch(facts: impl IntoIterator<Item = Fact>) -> Batch {
    let mut batch = Batch::default();
    for (index, fact) in facts.into_iter().enumerate() {
        assert_eq!(batch.apply(index, fact), Ok(Applied::Done));
    }
    batch
}
