//! Applies a batch of events, in their order, to the orders they name.
//!
//! Orders go in as SQL has them. Out comes everything that one transaction must write: new and changed
//! orders, their transitions, units moved per SKU, and what to tell the others. Writing is then a handful
//! of set-based statements, however long the batch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use rocketmart_contracts::event::{
    CancelRefused, PaymentFailed, PaymentRefundFailed, PaymentRefunded, PaymentSubmitted, PaymentSucceeded,
    Released, Reserved, ReturnUpdated, ShipmentUpdated,
};
use uuid::Uuid;

use super::close_out::{Charge, ChargeOutcome, Refund};
use super::ledger::{Move, StockMove};
use super::order::{Order, Verdict};
use super::order_event::OrderEvent;
use super::returns::{Return, UnknownReturn};
use super::state::{ImpossibleTransition, OrderState};

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

    /// Whether this repeats what is in the sale's stream, where it follows its order's `reserved`.
    pub fn comes_from_the_stream(&self) -> bool {
        matches!(self, Self::Reserved(_) | Self::PaymentSubmitted(_) | Self::Released(_))
    }
}

/// What happened to a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    Done,
    /// Its order is not known yet, but the stream holds it: the relay sends both again, in order. Until
    /// then this fact counts as not received.
    NotYet,
    /// Its order is not known yet, and nobody repeats this fact: it has to be kept until the order is
    /// known.
    OrderMissing,
}

/// Why a fact cannot be true: two services contradict each other, and a person has to look at it.
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

/// Everything besides the orders that a batch changes.
#[derive(Debug, Default)]
pub struct Effects {
    cause: usize,
    /// How long after its order's deadline we may still charge a payment that was submitted before it.
    pub(super) charge_late_ms: i64,
    pub transitions: Vec<Transition>,
    pub ledger: BTreeMap<(Uuid, String), Move>,
    /// Units that left the durable stock, or came back to it, by SKU.
    pub stock: BTreeMap<String, StockMove>,
    pub emitted: Vec<Emitted>,
    /// What was reported about each charge; later news of the same charge replaces earlier news.
    pub charges: BTreeMap<Uuid, Charge>,
    /// What was reported about money that went back, by the id of the refund.
    pub refunds: BTreeMap<Uuid, Refund>,
    /// New and changed returns, with the orders they belong to.
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

/// What remains to be written after a batch. Orders are sorted by id, so that concurrent writers lock rows
/// in the same order.
#[derive(Debug)]
pub struct Outcome {
    pub made: Vec<Order>,
    pub changed: Vec<Order>,
    pub effects: Effects,
}

impl Batch {
    /// `orders` are those named by the batch that already exist.
    pub fn new(orders: impl IntoIterator<Item = Order>) -> Self {
        Self { orders: orders.into_iter().map(|order| (order.id, order)).collect(), ..Self::default() }
    }

    /// Allows payments that were submitted in time to be charged this long after their orders' deadlines.
    pub fn charging_late(mut self, by: Duration) -> Self {
        self.effects.charge_late_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self
    }

    /// Applies the fact at `index` of the batch. After an error the order is as it was before.
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

    /// Whether the units for a reservation are there after what was applied so far, if `free` were there at
    /// the start. A reservation that is already known needs none.
    pub fn fits(&self, event: &Reserved, free: &HashMap<(Uuid, String), i64>) -> bool {
        self.orders.contains_key(&event.order_id)
            || event.lines.iter().all(|line| {
                let item = (event.sale_id, line.sku.clone());
                let moved = self.effects.ledger.get(&item).map_or(0, |moved| moved.remaining);
                free.get(&item).is_none_or(|free| free + moved >= line.quantity)
            })
    }

    /// Lets `decide` change an existing order for a reason that is not an event: a buyer's wish, or time. A
    /// refusal must leave the order as it was. `None`: the batch does not have the order.
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
mod tests;
