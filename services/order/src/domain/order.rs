//! One order, and what each event does to it.
//!
//! Redis has decided before any of this runs: an event either repeats a decision of Redis or comes with
//! Redis' [`Verdict`]. So the functions here never weigh who was first. They follow, and they refuse to
//! follow where the transition table does not lead. Each may be applied twice; the second time changes
//! nothing. What happens to a paid order that the buyer no longer wants is in
//! [`cancellation`](super::cancellation), [`returns`](super::returns) and [`refunds`](super::refunds).

pub use rocketmart_contracts::event::Line;
use rocketmart_contracts::event::{
    self, OrderPaid, OrderReleased, PaymentFailed, PaymentRequested, PaymentSubmitted, PaymentSucceeded,
    RefundRequested, ReleaseReason, Released, Reserved, ShipmentState, ShipmentUpdated,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::batch::Effects;
use super::cancellation::Cancellation;
use super::ledger::{Move, StockMove};
use super::order_event::OrderEvent;
use super::returns::Return;
use super::standing;
use super::state::{ImpossibleTransition, OrderState};

/// Some units of one SKU.
// Written by buyers too, who are told of a field that nobody knows; what travels in events passes it over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Units {
    #[schema(min_length = 1, max_length = 128)]
    pub sku: String,
    #[schema(minimum = 1)]
    pub quantity: i64,
}

impl From<&Units> for event::Units {
    fn from(units: &Units) -> Self {
        Self { sku: units.sku.clone(), quantity: units.quantity }
    }
}

/// Where the money of an order stands, as far as this service was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentState {
    /// The buyer has not asked to pay yet.
    None,
    /// The payment service was asked to charge.
    Requested,
    Succeeded,
    Failed,
    /// The payment service was asked to give back a charge, or a part of it.
    RefundRequested,
    /// All of it went back.
    Refunded,
    /// It should have gone back and did not: somebody has to look at it.
    RefundFailed,
}

/// Money of a paid order that is going back, in minor units. `done ≤ requested ≤ amount`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refunds {
    pub requested: i64,
    pub done: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    pub state: PaymentState,
    pub id: Option<Uuid>,
    pub method_id: Option<Uuid>,
    /// Why it failed or was refunded.
    pub reason: Option<String>,
    /// How often the buyer has asked to pay: after a failed payment there may be another.
    pub attempt: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipment {
    pub id: Uuid,
    pub tracking_number: Option<String>,
    pub updated_at_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: Uuid,
    pub sale_id: Uuid,
    pub buyer_id: Uuid,
    pub state: OrderState,
    pub lines: Vec<Line>,
    pub amount: i64,
    pub currency: String,
    pub reserved_at_ms: i64,
    pub pay_by_ms: i64,
    pub payment: Payment,
    pub delivery_address_id: Option<Uuid>,
    pub paid_at_ms: Option<i64>,
    pub released_at_ms: Option<i64>,
    pub shipment: Option<Shipment>,
    pub delivered_at_ms: Option<i64>,
    pub cancellation: Option<Cancellation>,
    /// In the order of the requests.
    pub returns: Vec<Return>,
    pub refunds: Refunds,
}

/// What Redis answered when asked to do what a payment event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The reservation is now as asked, through this call or an earlier one.
    Won,
    /// Something else was first and stands.
    Lost,
    /// The payment failed, and the reservation is still held: the buyer may pay in another way.
    Held,
}

impl Order {
    pub fn reserve(event: Reserved, effects: &mut Effects) -> Self {
        let order = Self {
            id: event.order_id,
            sale_id: event.sale_id,
            buyer_id: event.buyer_id,
            state: OrderState::Reserved,
            lines: event.lines,
            amount: event.amount,
            currency: event.currency,
            reserved_at_ms: event.reserved_at_ms,
            pay_by_ms: event.pay_by_ms,
            payment: Payment {
                state: PaymentState::None,
                id: None,
                method_id: None,
                reason: None,
                attempt: 0,
            },
            delivery_address_id: None,
            paid_at_ms: None,
            released_at_ms: None,
            shipment: None,
            delivered_at_ms: None,
            cancellation: None,
            returns: Vec::new(),
            refunds: Refunds::default(),
        };
        effects.transition(order.id, None, order.state);
        order.move_units(Move::reserve, effects);
        order
    }

    /// Whether this is an order of ordinary stock and not of a flash sale.
    pub fn is_ordinary(&self) -> bool {
        standing::is_standing(self.sale_id, &self.currency)
    }

    /// Whether the buyer's money was taken for this order at some time. Then its units are sold, whatever
    /// happens to it afterwards.
    pub fn was_paid(&self) -> bool {
        self.paid_at_ms.is_some()
    }

    /// Asks for the money. Redis accepts another payment only when the one before has failed, whether or
    /// not we have heard of that yet.
    pub fn submit_payment(&mut self, event: PaymentSubmitted, effects: &mut Effects) {
        let attempt = event.attempt();
        if self.state != OrderState::Reserved || attempt <= self.payment.attempt {
            return;
        }
        self.payment = Payment {
            state: PaymentState::Requested,
            id: None,
            method_id: event.payment_method_id,
            reason: None,
            attempt,
        };
        self.delivery_address_id = event.delivery_address_id;
        effects.emit(OrderEvent::PaymentRequested(PaymentRequested {
            order_id: self.id,
            sale_id: self.sale_id,
            buyer_id: self.buyer_id,
            amount: self.amount,
            currency: self.currency.clone(),
            payment_method_id: self.payment.method_id,
            attempt: (attempt > 1).then_some(attempt),
            pay_by_ms: self.pay_by_ms.saturating_add(effects.charge_late_ms),
        }));
    }

    pub fn release(&mut self, event: &Released, effects: &mut Effects) -> Result<(), ImpossibleTransition> {
        self.give_back(event.reason, Some(event.released_at_ms), effects)
    }

    /// A charge of exactly the order's amount pays for it, if Redis confirmed the reservation. Every other
    /// charge is refunded: I4 allows one net charge, and none for units that were released.
    pub fn payment_succeeded(
        &mut self,
        event: &PaymentSucceeded,
        verdict: Verdict,
        effects: &mut Effects,
    ) -> Result<(), ImpossibleTransition> {
        let known = self.payment.id == Some(event.payment_id);
        if known && !matches!(self.payment.state, PaymentState::Requested | PaymentState::Failed) {
            return Ok(());
        }
        if self.was_paid() {
            effects.emit(self.refund(event, "already_paid"));
            return Ok(());
        }
        if !self.is_price(event.amount, &event.currency) || verdict != Verdict::Won {
            let reason = if verdict != Verdict::Won && self.is_price(event.amount, &event.currency) {
                "order_released"
            } else {
                "amount_differs"
            };
            self.payment.id = Some(event.payment_id);
            self.payment.reason = Some(reason.to_owned());
            if event.amount == 0 {
                // There was no money, so there is none to ask back.
                self.payment.state = PaymentState::Refunded;
                return Ok(());
            }
            self.payment.state = PaymentState::RefundRequested;
            effects.emit(self.refund(event, reason));
            return Ok(());
        }
        self.go(OrderState::Paid, effects)?;
        self.payment.id = Some(event.payment_id);
        self.payment.state = PaymentState::Succeeded;
        self.payment.reason = None;
        self.paid_at_ms = Some(event.succeeded_at_ms);
        self.move_units(Move::sell, effects);
        let sell = if self.is_ordinary() { StockMove::sell_off_the_shelf } else { StockMove::sell };
        for line in &self.lines {
            effects.move_stock(&line.sku, sell(line.quantity));
        }
        effects.emit(OrderEvent::Paid(OrderPaid {
            order_id: self.id,
            sale_id: self.sale_id,
            buyer_id: self.buyer_id,
            lines: self.lines.clone(),
            amount: self.amount,
            currency: self.currency.clone(),
            payment_id: event.payment_id,
            delivery_address_id: self.delivery_address_id,
            paid_at_ms: event.succeeded_at_ms,
        }));
        Ok(())
    }

    /// A failed payment leaves the order as it is while there is time to pay in another way. Late news of
    /// an earlier payment says nothing about the one under way.
    pub fn payment_failed(
        &mut self,
        event: &PaymentFailed,
        verdict: Verdict,
        effects: &mut Effects,
    ) -> Result<(), ImpossibleTransition> {
        // A failed attempt changes neither a payment that has already succeeded nor one that is being
        // refunded.
        let open = matches!(self.payment.state, PaymentState::None | PaymentState::Requested)
            && event.attempt() >= self.payment.attempt;
        if verdict == Verdict::Won {
            self.give_back(ReleaseReason::PaymentFailed, None, effects)?;
        }
        if open {
            self.payment.id = Some(event.payment_id);
            self.payment.state = PaymentState::Failed;
            self.payment.reason = Some(event.reason.clone());
            self.payment.attempt = event.attempt();
        }
        Ok(())
    }

    /// Shipments only move forward: a late or repeated update changes nothing, and an update that skips a
    /// step takes the steps in between.
    pub fn ship(
        &mut self,
        event: &ShipmentUpdated,
        effects: &mut Effects,
    ) -> Result<(), ImpossibleTransition> {
        const STEPS: [OrderState; 4] =
            [OrderState::Paid, OrderState::Preparing, OrderState::Shipped, OrderState::Delivered];
        let target = match event.state {
            ShipmentState::Preparing => 1,
            ShipmentState::Shipped => 2,
            ShipmentState::Delivered => 3,
            ShipmentState::Cancelled => return self.cancelled_by_carrier(event, effects),
        };
        let Some(at) = STEPS.iter().position(|step| *step == self.state) else {
            // Past delivery there is nothing left to report, and before payment there is no shipment.
            return if self.was_paid() { Ok(()) } else { self.state.to(STEPS[target]).map(drop) };
        };
        if target <= at {
            return Ok(());
        }
        for step in &STEPS[at + 1..=target] {
            self.go(*step, effects)?;
        }
        if self.state == OrderState::Delivered {
            self.delivered_at_ms = Some(event.at_ms);
        }
        self.note_shipment(event);
        Ok(())
    }

    pub(super) fn note_shipment(&mut self, event: &ShipmentUpdated) {
        let tracking_number =
            event.tracking_number.clone().or_else(|| self.shipment.take().and_then(|s| s.tracking_number));
        self.shipment = Some(Shipment { id: event.shipment_id, tracking_number, updated_at_ms: event.at_ms });
    }

    /// Whether a charge of `amount` is what this order costs.
    pub fn is_price(&self, amount: i64, currency: &str) -> bool {
        self.amount == amount && self.currency == currency
    }

    fn give_back(
        &mut self,
        reason: ReleaseReason,
        at_ms: Option<i64>,
        effects: &mut Effects,
    ) -> Result<(), ImpossibleTransition> {
        let to = match reason {
            ReleaseReason::Expired => OrderState::Expired,
            ReleaseReason::Cancelled => OrderState::Cancelled,
            ReleaseReason::PaymentFailed => OrderState::PaymentFailed,
        };
        if self.state == to {
            return Ok(());
        }
        self.go(to, effects)?;
        self.released_at_ms = at_ms;
        self.move_units(Move::release, effects);
        effects.emit(OrderEvent::Released(OrderReleased {
            order_id: self.id,
            sale_id: self.sale_id,
            buyer_id: self.buyer_id,
            reason,
        }));
        Ok(())
    }

    pub(super) fn go(&mut self, to: OrderState, effects: &mut Effects) -> Result<(), ImpossibleTransition> {
        let from = self.state;
        self.state = from.to(to)?;
        effects.transition(self.id, Some(from), to);
        Ok(())
    }

    fn move_units(&self, way: impl Fn(i64) -> Move, effects: &mut Effects) {
        for line in &self.lines {
            effects.move_units(self.sale_id, &line.sku, way(line.quantity));
        }
    }

    fn refund(&self, event: &PaymentSucceeded, reason: &str) -> OrderEvent {
        OrderEvent::RefundRequested(RefundRequested {
            order_id: self.id,
            payment_id: event.payment_id,
            amount: event.amount,
            currency: event.currency.clone(),
            reason: reason.to_owned(),
            reference: None,
        })
    }
}

impl PaymentState {
    /// The number of a payment in this state. An older version may have `noted` none for it.
    pub fn attempt(self, noted: i32) -> i32 {
        noted.max(i32::from(self != Self::None))
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Requested => "requested",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::RefundRequested => "refund_requested",
            Self::Refunded => "refunded",
            Self::RefundFailed => "refund_failed",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        let states = [Self::None, Self::Requested, Self::Succeeded, Self::Failed];
        let back = [Self::RefundRequested, Self::Refunded, Self::RefundFailed];
        states.into_iter().chain(back).find(|state| state.as_str() == text)
    }
}
