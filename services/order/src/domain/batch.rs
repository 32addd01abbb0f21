//! A batch of events, applied in their order to the orders they name.
//!
//! Orders go in as SQL has them; out comes everything that must be written in one transaction:
//! orders made and changed, the transitions they took, units moved per SKU, and what to tell the
//! others. Writing is then a handful of set-based statements, however long the batch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use uuid::Uuid;

use super::close_out::{Charge, ChargeOutcome, Refund};
use super::ledger::{Move, StockMove};
use super::order::{Order, Verdict};
use super::returns::{Return, UnknownReturn};
use super::state::{ImpossibleTransition, OrderState};
use crate::events::{
    CancelRefused, OrderEvent, PaymentFailed, PaymentRefundFailed, PaymentRefunded, PaymentSubmitted,
    PaymentSucceeded, Released, Reserved, ReturnUpdated, ShipmentUpdated,
};

/// Something that happened to one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Reserved(Reserved),
    PaymentSubmitted(PaymentSubmitted),
    Released(Released),
    PaymentSucceeded(PaymentSucceeded, Verdict),
    PaymentFailed(PaymentFailed, Verdict),
    PaymentRefunded(PaymentRefunded),
    PaymentRefundFailed(PaymentRefundFailed),
    ShipmentUpdated(ShipmentUpdated),
    CancelRefused(CancelRefused),
    ReturnUpdated(ReturnUpdated),
}

impl Fact {
    pub fn order_id(&self) -> Uuid {
        match self {
            Self::Reserved(event) => event.order_id,
            Self::PaymentSubmitted(event) => event.order_id,
            Self::Released(event) => event.order_id,
            Self::PaymentSucceeded(event, _) => event.order_id,
            Self::PaymentFailed(event, _) => event.order_id,
            Self::PaymentRefunded(event) => event.order_id,
            Self::PaymentRefundFailed(event) => event.order_id,
            Self::CancelRefused(event) => event.order_id,
            Self::ReturnUpdated(event) => event.order_id,
            Self::ShipmentUpdated(event) => event.order_id,
        }
    }

    /// Whether this repeats what stands in the sale's stream, where it follows its `reserved`.
    pub fn comes_from_the_stream(&self) -> bool {
        matches!(self, Self::Reserved(_) | Self::PaymentSubmitted(_) | Self::Released(_))
    }
}

/// What became of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    Done,
    /// Its order is not known yet, but the stream holds it: the relay sends both again, in order.
    /// Until then this fact counts as not received.
    NotYet,
    /// Its order is not known yet, and nobody repeats this: it has to be kept until the order is.
    OrderMissing,
}

/// Why a fact cannot be: two services contradict each other, and a person has to look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    #[error(transparent)]
    Impossible(#[from] ImpossibleTransition),
    #[error(transparent)]
    UnknownReturn(#[from] UnknownReturn),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    pub order_id: Uuid,
    pub from: Option<OrderState>,
    pub to: OrderState,
    /// Index of the fact that caused it.
    pub cause: usize,
}

/// An event to write to the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    pub event: OrderEvent,
    /// Index of the fact that caused it.
    pub cause: usize,
}

/// Everything around the orders that a batch changes.
#[derive(Debug, Default)]
pub struct Effects {
    cause: usize,
    /// How long after its order's deadline a payment that was submitted before may be charged.
    pub(super) charge_late_ms: i64,
    pub transitions: Vec<Transition>,
    pub ledger: BTreeMap<(Uuid, String), Move>,
    /// Units that left the durable stock, or came back to it, per SKU.
    pub stock: BTreeMap<String, StockMove>,
    pub emitted: Vec<Emitted>,
    /// What was told of each charge; later news of the same charge replace earlier.
    pub charges: BTreeMap<Uuid, Charge>,
    /// What was told of money that went back, by the id of the refund.
    pub refunds: BTreeMap<Uuid, Refund>,
    /// Returns made or moved on, with the orders they belong to.
    pub returns: BTreeMap<Uuid, (Uuid, Return)>,
}

impl Effects {
    pub fn transition(&mut self, order_id: Uuid, from: Option<OrderState>, to: OrderState) {
        self.transitions.push(Transition { order_id, from, to, cause: self.cause });
    }

    pub fn move_units(&mut self, sale_id: Uuid, sku: &str, moved: Move) {
        *self.ledger.entry((sale_id, sku.to_owned())).or_default() += moved;
    }

    pub fn move_stock(&mut self, sku: &str, moved: StockMove) {
        *self.stock.entry(sku.to_owned()).or_default() += moved;
    }

    pub fn note_return(&mut self, order_id: Uuid, noted: &Return) {
        self.returns.insert(noted.id, (order_id, noted.clone()));
    }

    pub fn emit(&mut self, event: OrderEvent) {
        self.emitted.push(Emitted { event, cause: self.cause });
    }

    fn note_charge(&mut self, fact: &Fact) {
        let charge = match fact {
            Fact::PaymentFailed(event, _) => Charge {
                payment_id: event.payment_id,
                order_id: event.order_id,
                outcome: ChargeOutcome::Failed,
                amount: None,
                refunded: 0,
            },
            Fact::PaymentSucceeded(event, _) => Charge {
                payment_id: event.payment_id,
                order_id: event.order_id,
                outcome: ChargeOutcome::Succeeded,
                amount: Some(event.amount),
                refunded: 0,
            },
            Fact::PaymentRefunded(event) => {
                let refund =
                    Refund { payment_id: event.payment_id, order_id: event.order_id, amount: event.amount };
                self.refunds.insert(event.refund_id, refund);
                return;
            }
            _ => return,
        };
        let known = self.charges.entry(charge.payment_id).or_insert_with(|| charge.clone());
        if known.outcome < charge.outcome {
            *known = charge;
        }
    }
}

#[derive(Debug, Default)]
pub struct Batch {
    orders: HashMap<Uuid, Order>,
    made: BTreeSet<Uuid>,
    changed: BTreeSet<Uuid>,
    effects: Effects,
}

/// What a batch leaves to be written. Orders are sorted by id, so that concurrent writers lock rows
/// in the same order.
#[derive(Debug)]
pub struct Outcome {
    pub made: Vec<Order>,
    pub changed: Vec<Order>,
    pub effects: Effects,
}

impl Batch {
    /// `orders` are those named by the batch that exist already.
    pub fn new(orders: impl IntoIterator<Item = Order>) -> Self {
        Self { orders: orders.into_iter().map(|order| (order.id, order)).collect(), ..Self::default() }
    }

    /// Lets payments that were submitted in time be charged this long after their orders' deadlines.
    pub fn charging_late(mut self, by: Duration) -> Self {
        self.effects.charge_late_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self
    }

    /// Applies the fact at `index` of the batch. On an error the order is as it was before.
    pub fn apply(&mut self, index: usize, fact: Fact) -> Result<Applied, Contradiction> {
        self.effects.cause = index;
        let id = fact.order_id();
        let from_the_stream = fact.comes_from_the_stream();
        let Some(order) = self.orders.get_mut(&id) else {
            return Ok(match fact {
                Fact::Reserved(event) => {
                    self.orders.insert(id, Order::reserve(event, &mut self.effects));
                    self.made.insert(id);
                    Applied::Done
                }
                _ if from_the_stream => Applied::NotYet,
                _ => Applied::OrderMissing,
            });
        };
        let effects = &mut self.effects;
        effects.note_charge(&fact);
        match fact {
            Fact::Reserved(_) => return Ok(Applied::Done),
            Fact::PaymentSubmitted(event) => order.submit_payment(event, effects),
            Fact::Released(event) => order.release(&event, effects)?,
            Fact::PaymentSucceeded(event, verdict) => order.payment_succeeded(&event, verdict, effects)?,
            Fact::PaymentFailed(event, verdict) => order.payment_failed(&event, verdict, effects)?,
            Fact::PaymentRefunded(event) => order.payment_refunded(&event, effects)?,
            Fact::PaymentRefundFailed(event) => order.refund_failed(&event, effects),
            Fact::ShipmentUpdated(event) => order.ship(&event, effects)?,
            Fact::CancelRefused(event) => order.cancellation_refused(&event),
            Fact::ReturnUpdated(event) => order.return_updated(&event, effects)?,
        }
        if !self.made.contains(&id) {
            self.changed.insert(id);
        }
        Ok(Applied::Done)
    }

    /// The sale of an order that is neither paid nor released.
    pub fn sale_of_unpaid(&self, id: Uuid) -> Option<Uuid> {
        let order = self.orders.get(&id)?;
        (order.state == OrderState::Reserved).then_some(order.sale_id)
    }

    /// Whether the units of a reservation are there after what was applied so far, when `free` were before.
    /// One that is known already needs none.
    pub fn fits(&self, event: &Reserved, free: &HashMap<(Uuid, String), i64>) -> bool {
        self.orders.contains_key(&event.order_id)
            || event.lines.iter().all(|line| {
                let item = (event.sale_id, line.sku.clone());
                let moved = self.effects.ledger.get(&item).map_or(0, |moved| moved.remaining);
                free.get(&item).is_none_or(|free| free + moved >= line.quantity)
            })
    }

    /// Lets `decide` change an order that exists, for a reason that is not an event: a buyer's wish,
    /// or time. A refusal must leave the order as it was. `None`: the batch does not have it.
    pub fn decide<T, E>(
        &mut self,
        id: Uuid,
        decide: impl FnOnce(&mut Order, &mut Effects) -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        let order = self.orders.get_mut(&id)?;
        let decided = decide(order, &mut self.effects);
        if decided.is_ok() {
            self.changed.insert(id);
        }
        Some(decided)
    }

    pub fn finish(mut self) -> Outcome {
        let take = |ids: BTreeSet<Uuid>, orders: &mut HashMap<Uuid, Order>| {
            ids.iter().filter_map(|id| orders.remove(id)).collect()
        };
        self.effects.ledger.retain(|_, moved| !moved.is_nothing());
        Outcome {
            made: take(self.made, &mut self.orders),
            changed: take(self.changed, &mut self.orders),
            effects: self.effects,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::facts::{
        PAYMENT, failed, ledger, released, reserved, run, shipment, submitted, succeeded, told,
    };
    use crate::domain::order::PaymentState;
    use crate::events::{ReleaseReason, ShipmentState};

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
}
