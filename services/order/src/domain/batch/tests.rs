//! What a batch of events does to orders and to the ledger.

use rocketmart_contracts::event::{ReleaseReason, ShipmentState};

use super::*;
use crate::domain::facts::{
    PAYMENT, failed, failed_attempt, ledger, released, reserved, run, shipment, submitted, succeeded, told,
};
use crate::domain::order::PaymentState;

#[test]
fn a_whole_purchase_in_one_batch_makes_one_paid_order_and_sells_its_units() {
    let outcome = run([reserved(), submitted(), succeeded(PAYMENT, 1000, Verdict::Won)]);
    let [order] = outcome.made.as_slice() else { panic!("one order") };
    assert_eq!(order.state, OrderState::Paid);
    assert_eq!(order.payment.state, PaymentState::Succeeded);
    assert!(outcome.changed.is_empty());
    assert_eq!(ledger(&outcome), Move { remaining: -2, reserved: 0, sold: 2 });
    assert_eq!(outcome.effects.stock.get("MUG"), Some(&StockMove::sell(2)));
    assert_eq!(told(&outcome), ["rocketmart.order.payment_requested.v1", "rocketmart.order.paid.v1"]);
}

#[test]
fn a_payment_submitted_in_time_may_be_charged_after_the_deadline_of_its_order() {
    let mut batch = Batch::default().charging_late(Duration::from_millis(7));
    for (index, fact) in [reserved(), submitted()].into_iter().enumerate() {
        batch.apply(index, fact).unwrap();
    }
    let outcome = batch.finish();
    let OrderEvent::PaymentRequested(asked) = &outcome.effects.emitted[0].event else { panic!() };
    assert_eq!((asked.pay_by_ms, outcome.made[0].pay_by_ms), (27, 20));
}

#[test]
fn every_fact_told_twice_changes_nothing_the_second_time() {
    let once = run([reserved(), submitted(), succeeded(PAYMENT, 1000, Verdict::Won)]);
    let twice = run([
        reserved(),
        reserved(),
        submitted(),
        submitted(),
        succeeded(PAYMENT, 1000, Verdict::Won),
        succeeded(PAYMENT, 1000, Verdict::Won),
    ]);
    assert_eq!(once.made, twice.made);
    assert_eq!(ledger(&once), ledger(&twice));
    assert_eq!(told(&once), told(&twice));
}

#[test]
fn a_late_success_is_given_back_and_the_order_stays_released() {
    let outcome = run([
        reserved(),
        submitted(),
        released(ReleaseReason::Expired),
        succeeded(PAYMENT, 1000, Verdict::Lost),
    ]);
    assert_eq!(outcome.made[0].state, OrderState::Expired);
    assert_eq!(outcome.made[0].payment.state, PaymentState::RefundRequested);
    assert!(ledger(&outcome).is_nothing() && outcome.effects.stock.is_empty());
    assert_eq!(told(&outcome).last(), Some(&"rocketmart.order.refund_requested.v1"));
}

#[test]
fn a_success_that_lost_in_redis_is_given_back_even_before_the_release_is_known_here() {
    let outcome = run([
        reserved(),
        submitted(),
        succeeded(PAYMENT, 1000, Verdict::Lost),
        released(ReleaseReason::Expired),
    ]);
    assert_eq!(outcome.made[0].state, OrderState::Expired);
    assert!(ledger(&outcome).is_nothing());
}

#[test]
fn a_charge_of_another_amount_pays_nothing_and_is_given_back() {
    let outcome = run([reserved(), submitted(), succeeded(PAYMENT, 999, Verdict::Lost)]);
    assert_eq!(outcome.made[0].state, OrderState::Reserved);
    let OrderEvent::RefundRequested(refund) = &outcome.effects.emitted[1].event else { panic!() };
    assert_eq!((refund.amount, refund.reason.as_str()), (999, "amount_differs"));
}

#[test]
fn a_second_charge_for_a_paid_order_is_given_back_and_the_first_stands() {
    let other = Uuid::from_u128(5);
    let outcome = run([
        reserved(),
        submitted(),
        succeeded(PAYMENT, 1000, Verdict::Won),
        succeeded(other, 1000, Verdict::Won),
    ]);
    assert_eq!(outcome.made[0].payment.id, Some(PAYMENT));
    let OrderEvent::RefundRequested(refund) = &outcome.effects.emitted[2].event else { panic!() };
    assert_eq!((refund.payment_id, refund.reason.as_str()), (other, "already_paid"));
}

#[test]
fn a_failed_payment_restocks_once_however_often_it_is_told() {
    let outcome = run([reserved(), submitted(), failed(Verdict::Won), failed(Verdict::Won)]);
    assert_eq!(outcome.made[0].state, OrderState::PaymentFailed);
    assert!(ledger(&outcome).is_nothing());
    assert_eq!(told(&outcome), ["rocketmart.order.payment_requested.v1", "rocketmart.order.released.v1"]);
}

#[test]
fn p4_a_failed_payment_may_be_followed_by_another_and_costs_no_unit() {
    let again = |attempt| {
        let Fact::PaymentSubmitted(event) = submitted() else { unreachable!() };
        Fact::PaymentSubmitted(PaymentSubmitted { attempt: Some(attempt), ..event })
    };
    let outcome = run([reserved(), submitted(), failed(Verdict::Held), failed(Verdict::Held)]);
    let order = &outcome.made[0];
    assert_eq!((order.state, order.payment.state), (OrderState::Reserved, PaymentState::Failed));
    assert_eq!(ledger(&outcome), Move { remaining: -2, reserved: 2, sold: 0 });

    // The second payment is requested once. Later reports about the first one are not news about it.
    let facts = [reserved(), submitted(), failed(Verdict::Held), again(2), again(2), again(1)];
    let outcome = run(facts.into_iter().chain([failed(Verdict::Held)]));
    let order = &outcome.made[0];
    assert_eq!((order.state, order.payment.state), (OrderState::Reserved, PaymentState::Requested));
    assert_eq!(told(&outcome), ["rocketmart.order.payment_requested.v1"; 2]);
    let OrderEvent::PaymentRequested(request) = &outcome.effects.emitted[1].event else { panic!() };
    assert_eq!(request.attempt, Some(2));

    // The news of the first payment may also come after the request for the second.
    let facts =
        [reserved(), submitted(), again(2), failed(Verdict::Held), failed_attempt(Some(2), Verdict::Held)];
    let order = &run(facts).made[0];
    assert_eq!((order.payment.state, order.payment.attempt), (PaymentState::Failed, 2));
}

#[test]
fn s8_money_of_a_free_order_that_came_too_late_needs_no_refund() {
    let free = |fact| match fact {
        Fact::Reserved(event) => Fact::Reserved(Reserved { amount: 0, ..event }),
        fact => fact,
    };
    let facts =
        [reserved(), submitted(), released(ReleaseReason::Expired), succeeded(PAYMENT, 0, Verdict::Lost)];
    let outcome = run(facts.map(free));
    assert_eq!(outcome.made[0].payment.state, PaymentState::Refunded);
    assert!(!told(&outcome).contains(&"rocketmart.order.refund_requested.v1"));
}

#[test]
fn a_failure_that_lost_to_expiry_only_notes_that_the_payment_failed() {
    let outcome = run([reserved(), submitted(), released(ReleaseReason::Expired), failed(Verdict::Lost)]);
    assert_eq!(outcome.made[0].state, OrderState::Expired);
    assert_eq!(outcome.made[0].payment.state, PaymentState::Failed);
}

#[test]
fn a_release_of_a_paid_order_is_impossible_and_leaves_the_batch_as_it_was() {
    let mut batch = Batch::default();
    for (index, fact) in
        [reserved(), submitted(), succeeded(PAYMENT, 1000, Verdict::Won)].into_iter().enumerate()
    {
        batch.apply(index, fact).unwrap();
    }
    let refused = batch.apply(3, released(ReleaseReason::Expired));
    let impossible = ImpossibleTransition { from: OrderState::Paid, to: OrderState::Expired };
    assert_eq!(refused, Err(impossible.into()));
    let outcome = batch.finish();
    assert_eq!(outcome.made[0].state, OrderState::Paid);
    assert_eq!(ledger(&outcome), Move { remaining: -2, reserved: 0, sold: 2 });
}

#[test]
fn what_precedes_its_order_waits_for_the_stream_and_a_payment_for_no_order_is_missing_it() {
    let mut batch = Batch::default();
    assert_eq!(batch.apply(0, released(ReleaseReason::Expired)), Ok(Applied::NotYet));
    assert_eq!(batch.apply(1, submitted()), Ok(Applied::NotYet));
    assert_eq!(batch.apply(2, succeeded(PAYMENT, 1000, Verdict::Lost)), Ok(Applied::OrderMissing));
}

#[test]
fn a_reservation_fits_where_its_units_are_left_or_were_given_back_before_it_in_the_batch() {
    let Fact::Reserved(first) = reserved() else { panic!() };
    let second = Reserved { order_id: Uuid::from_u128(77), ..first.clone() };
    let free = |units| HashMap::from([((first.sale_id, "MUG".to_owned()), units)]);
    let mut batch = Batch::default();
    assert!(batch.fits(&second, &free(2)) && !batch.fits(&second, &free(1)));
    batch.apply(0, reserved()).unwrap();
    assert!(!batch.fits(&second, &free(3)));
    assert!(batch.fits(&first, &free(0)), "it is booked already");
    batch.apply(1, released(ReleaseReason::Expired)).unwrap();
    assert!(batch.fits(&second, &free(2)));
}

#[test]
fn shipments_move_forward_only_and_take_skipped_steps_one_by_one() {
    let outcome = run([
        reserved(),
        submitted(),
        succeeded(PAYMENT, 1000, Verdict::Won),
        shipment(ShipmentState::Shipped),
        shipment(ShipmentState::Preparing),
        shipment(ShipmentState::Delivered),
    ]);
    let way: Vec<_> = outcome.effects.transitions.iter().map(|t| t.to.as_str()).collect();
    assert_eq!(way, ["reserved", "paid", "preparing", "shipped", "delivered"]);
}

#[test]
fn a_shipment_of_an_unpaid_order_is_impossible() {
    let mut batch = Batch::default();
    batch.apply(0, reserved()).unwrap();
    assert!(batch.apply(1, shipment(ShipmentState::Delivered)).is_err());
}
