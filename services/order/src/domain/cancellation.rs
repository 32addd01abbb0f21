//! Cancelling an order that is paid: possible before it ships, and not after.
//!
//! ```text
//!   buyer asks ──▶ noted, `cancel_requested` ──▶ delivery: is the parcel still here?
//!                                                   │ yes                        │ no
//!             `shipment.updated` cancelled ◀────────┘                            │
//!                 the order is cancelled, its units      `cancel_refused` ◀──────┘
//!                 and its money go back                  the order goes on
//! ```
//!
//! The carrier and the buyer race, and only delivery sees both, so it decides who was first. Until it has,
//! the order is as before and says that a cancellation is pending. An order that is not paid is cancelled
//! in Redis instead.

use rocketmart_contracts::event::{CancelRefused, CancelRequested, ShipmentUpdated};
use uuid::Uuid;

use super::batch::Effects;
use super::ledger::StockMove;
use super::order::Order;
use super::order_event::OrderEvent;
use super::state::{ImpossibleTransition, OrderState};

/// A buyer's wish to cancel a paid order. If it is granted, the order is `cancelled`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancellation {
    pub reason: Option<String>,
    pub requested_at_ms: i64,
    /// Where the parcel was when delivery refused, in its words.
    pub refused: Option<String>,
}

/// The parcel has left, the order is over, or it was never paid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCancellable {
    #[error("the order is {0}")]
    State(OrderState),
    #[error("the parcel is {0} already")]
    Refused(String),
}

impl Order {
    /// Asks delivery to keep the parcel. A repeated request emits nothing more while the first is pending
    /// or after it was granted.
    pub fn request_cancellation(
        &mut self,
        reason: Option<String>,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<(), NotCancellable> {
        if let Some(refused) = self.cancellation.as_ref().and_then(|asked| asked.refused.clone()) {
            return Err(NotCancellable::Refused(refused));
        }
        match self.state {
            OrderState::Cancelled => return Ok(()),
            OrderState::Paid | OrderState::Preparing => {}
            // The buyer asked in time, and delivery has yet to say that the carrier was quicker.
            OrderState::Shipped if self.cancellation.is_some() => {}
            state => return Err(NotCancellable::State(state)),
        }
        if self.cancellation.is_none() {
            self.cancellation =
                Some(Cancellation { reason: reason.clone(), requested_at_ms: now_ms, refused: None });
            effects.emit(OrderEvent::CancelRequested(CancelRequested {
                order_id: self.id,
                buyer_id: self.buyer_id,
                reason,
            }));
        }
        Ok(())
    }

    /// The parcel stays: the units are back, and the money follows. The units stay sold in the ledger of
    /// their sale, and are for sale again as ordinary stock.
    pub(super) fn cancelled_by_carrier(
        &mut self,
        event: &ShipmentUpdated,
        effects: &mut Effects,
    ) -> Result<(), ImpossibleTransition> {
        if self.state == OrderState::Cancelled && self.was_paid() {
            return Ok(());
        }
        if !self.was_paid() {
            return Err(ImpossibleTransition { from: self.state, to: OrderState::Cancelled });
        }
        self.go(OrderState::Cancelled, effects)?;
        self.released_at_ms = Some(event.at_ms);
        self.note_shipment(event);
        for line in &self.lines {
            effects.move_stock(&line.sku, StockMove::take_back(line.quantity));
        }
        self.give_money_back(self.id, self.amount, "order_cancelled", effects)
    }

    /// The parcel is under way. The order continues, and its buyer may return it.
    pub fn cancellation_refused(&mut self, event: &CancelRefused) {
        if self.state != OrderState::Cancelled
            && let Some(asked) = &mut self.cancellation
        {
            asked.refused = Some(event.state.as_str().to_owned());
        }
    }

    /// Whether `reference` is this order itself, refunded as a whole.
    pub(super) fn is_cancelled_as(&self, reference: Uuid) -> bool {
        self.state == OrderState::Cancelled && reference == self.id
    }
}

#[cfg(test)]
mod tests {
    use rocketmart_contracts::event::{Payload as _, ShipmentState};

    use super::*;
    use crate::domain::batch::Batch;
    use crate::domain::facts::{
        ORDER, batch, cancel_refused, ledger, paid, refund_failed, refunded, reserved, shipment, told,
    };
    use crate::domain::ledger::Move;
    use crate::domain::order::PaymentState;

    fn ask(batch: &mut Batch) -> Result<(), NotCancellable> {
        let wish = |order: &mut Order, effects: &mut Effects| {
            order.request_cancellation(Some("changed my mind".into()), 25, effects)
        };
        batch.decide(ORDER, wish).unwrap()
    }

    #[test]
    fn a_wish_is_told_once_and_the_order_stays_as_it_is_until_delivery_answers() {
        let mut batch = batch(paid());
        assert_eq!(ask(&mut batch), Ok(()));
        assert_eq!(ask(&mut batch), Ok(()));
        let outcome = batch.finish();
        assert_eq!(outcome.made[0].state, OrderState::Paid);
        assert_eq!(told(&outcome).iter().filter(|told| **told == CancelRequested::TYPE).count(), 1);
    }

    #[test]
    fn a_granted_wish_gives_units_and_money_back_once_and_the_units_stay_sold_in_the_sale() {
        let mut batch = batch(paid());
        ask(&mut batch).unwrap();
        for index in 3..5 {
            batch.apply(index, shipment(ShipmentState::Cancelled)).unwrap();
        }
        for index in 5..7 {
            batch.apply(index, refunded(ORDER, 1000)).unwrap();
        }
        let outcome = batch.finish();
        let order = &outcome.made[0];
        assert_eq!((order.state, order.payment.state), (OrderState::Cancelled, PaymentState::Refunded));
        assert_eq!((order.refunds.requested, order.refunds.done), (1000, 1000));
        assert_eq!(ledger(&outcome), Move { remaining: -2, reserved: 0, sold: 2 });
        assert_eq!(
            outcome.effects.stock["MUG"],
            StockMove { on_hand: 0, allocated: -2, shelved: 0 },
            "sold, and back"
        );
        let refunds: Vec<_> = outcome.effects.emitted.iter().filter_map(|e| refund(&e.event)).collect();
        assert_eq!(refunds, [(1000, Some(ORDER))]);
    }

    fn refund(event: &OrderEvent) -> Option<(i64, Option<Uuid>)> {
        match event {
            OrderEvent::RefundRequested(refund) => Some((refund.amount, refund.reference)),
            _ => None,
        }
    }

    #[test]
    fn a_refused_wish_leaves_the_order_on_its_way_and_cannot_be_made_again() {
        let mut batch = batch(paid());
        ask(&mut batch).unwrap();
        batch.apply(3, shipment(ShipmentState::Shipped)).unwrap();
        assert_eq!(ask(&mut batch), Ok(()), "still pending: delivery has yet to refuse");
        batch.apply(4, cancel_refused()).unwrap();
        assert_eq!(ask(&mut batch), Err(NotCancellable::Refused("shipped".into())));
        let outcome = batch.finish();
        let order = &outcome.made[0];
        assert_eq!((order.state, order.payment.state), (OrderState::Shipped, PaymentState::Succeeded));
        assert_eq!(order.refunds.requested, 0);
    }

    #[test]
    fn what_was_never_paid_or_has_left_is_not_cancelled_this_way() {
        let mut unpaid = batch([reserved()]);
        assert_eq!(ask(&mut unpaid), Err(NotCancellable::State(OrderState::Reserved)));
        assert!(unpaid.apply(1, shipment(ShipmentState::Cancelled)).is_err());
        let mut left = batch(paid());
        left.apply(3, shipment(ShipmentState::Shipped)).unwrap();
        assert_eq!(ask(&mut left), Err(NotCancellable::State(OrderState::Shipped)));
        assert!(left.apply(4, shipment(ShipmentState::Cancelled)).is_err(), "two services contradict");
    }

    #[test]
    fn a_refund_that_failed_is_shown_until_it_works() {
        let mut batch = batch(paid());
        batch.apply(3, shipment(ShipmentState::Cancelled)).unwrap();
        batch.apply(4, refund_failed(ORDER, 1000)).unwrap();
        assert_eq!(
            batch.decide(ORDER, |order, _| Ok::<_, ()>(order.payment.state)),
            Some(Ok(PaymentState::RefundFailed))
        );
        batch.apply(5, refunded(ORDER, 1000)).unwrap();
        assert_eq!(batch.finish().made[0].payment.state, PaymentState::Refunded);
    }
}
