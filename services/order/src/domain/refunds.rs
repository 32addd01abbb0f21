//! Money on its way back to the buyer.
//!
//! A charge that never paid for the order (too late, the wrong amount, a second one) goes back without a
//! reference. A refund of a paid order has one: the order's id if it was cancelled, the return's id if
//! something came back. Each reference is requested once and booked once, so that never more goes back than
//! was paid (invariant I4; a CHECK in SQL says the same). What the provider refunded of a paid order by
//! itself has no reference either; a later request then gets what is left.

use rocketmart_contracts::event::{PaymentRefundFailed, PaymentRefunded, RefundRequested};
use uuid::Uuid;

use super::batch::Effects;
use super::order::{Order, PaymentState};
use super::order_event::OrderEvent;
use super::returns::ReturnState;
use super::state::ImpossibleTransition;

impl Order {
    /// Asks the payment service for `amount` of this paid order's money. When the amount is zero there is
    /// nothing to ask.
    pub(super) fn give_money_back(
        &mut self,
        reference: Uuid,
        amount: i64,
        reason: &str,
        effects: &mut Effects,
    ) -> Result<(), ImpossibleTransition> {
        let amount = amount.min(self.amount - self.refunds.requested);
        let Some(payment_id) = self.payment.id.filter(|_| amount > 0) else {
            return self.money_is_back(reference, 0, effects);
        };
        self.refunds.requested += amount;
        self.payment.state = PaymentState::RefundRequested;
        effects.emit(OrderEvent::RefundRequested(RefundRequested {
            order_id: self.id,
            payment_id,
            amount,
            currency: self.currency.clone(),
            reason: reason.to_owned(),
            reference: Some(reference),
        }));
        Ok(())
    }

    pub fn payment_refunded(
        &mut self,
        event: &PaymentRefunded,
        effects: &mut Effects,
    ) -> Result<(), ImpossibleTransition> {
        if self.payment.id != Some(event.payment_id) {
            return Ok(());
        }
        self.payment.reason = Some(event.reason.clone());
        match event.reference {
            _ if !self.was_paid() => {
                self.payment.state = PaymentState::Refunded;
                Ok(())
            }
            Some(reference) => self.money_is_back(reference, event.amount, effects),
            None => {
                self.given_back_unasked(event.amount);
                Ok(())
            }
        }
    }

    pub fn refund_failed(&mut self, event: &PaymentRefundFailed, effects: &mut Effects) {
        if self.payment.id != Some(event.payment_id) || self.payment.state == PaymentState::Refunded {
            return;
        }
        let reference = event.reference.unwrap_or(self.id);
        if let Some(returned) = self.returns.iter_mut().find(|returned| returned.id == reference) {
            if returned.state != ReturnState::Received {
                return;
            }
            returned.state = ReturnState::RefundFailed;
            effects.note_return(self.id, returned);
        } else if self.was_paid() && !self.is_cancelled_as(reference) {
            return;
        }
        self.payment.state = PaymentState::RefundFailed;
        self.payment.reason = Some(event.reason.clone());
    }

    /// This counts as if we had asked for it. A request made meanwhile that can no longer be paid in full
    /// is answered with what was left.
    fn given_back_unasked(&mut self, amount: i64) {
        self.refunds.requested = self.amount.min(self.refunds.requested + amount);
        self.refunds.done = self.refunds.requested.min(self.refunds.done + amount);
        self.payment.state = self.money();
    }

    fn money_is_back(
        &mut self,
        reference: Uuid,
        amount: i64,
        effects: &mut Effects,
    ) -> Result<(), ImpossibleTransition> {
        if let Some(returned) = self.returns.iter_mut().find(|returned| returned.id == reference) {
            if !matches!(returned.state, ReturnState::Received | ReturnState::RefundFailed) {
                return Ok(()); // booked already
            }
            returned.state = ReturnState::Refunded;
            effects.note_return(self.id, returned);
        } else if !self.is_cancelled_as(reference) || self.refunds.done >= self.refunds.requested {
            return Ok(()); // of nothing that was asked for, or booked already
        }
        self.refunds.done = self.refunds.requested.min(self.refunds.done + amount);
        self.payment.state = self.money();
        self.go_on_after_returns(effects)
    }

    /// Where the money of a paid order stands, judging by what went back of it.
    fn money(&self) -> PaymentState {
        if self.returns.iter().any(|returned| returned.state == ReturnState::RefundFailed) {
            PaymentState::RefundFailed
        } else if self.refunds.requested > self.refunds.done {
            PaymentState::RefundRequested
        } else if self.refunds.done >= self.amount {
            PaymentState::Refunded
        } else {
            PaymentState::Succeeded
        }
    }
}
