//! Paying for a reservation, in one step or two. Redis checks the deadline by its own clock, whether or not
//! the expirer has come by.

use crate::id::{BuyerId, OrderId, SaleId};
use crate::reply::{Reply, unexpected};
use crate::reservation::{PaymentDetails, PaymentOutcome, SubmitPayment};

use super::{Arguments, Function, Result, Stock, well_formed_trace};

const PREPARE: Function = Function::new("rocketmart_prepare_payment");
const SUBMIT: Function = Function::new("rocketmart_submit_payments");

impl Stock {
    /// Keeps how the buyer wants to pay. A later call replaces an earlier one.
    pub async fn prepare_payment(
        &self,
        sale: SaleId,
        order: OrderId,
        buyer: BuyerId,
        details: PaymentDetails,
    ) -> Result<PaymentOutcome> {
        let mut arguments = Arguments::default().with(order).with(buyer);
        arguments.push_optional(details.payment_method_id);
        arguments.push_optional(details.delivery_address_id);
        let mut reply = self.call::<Reply>(PREPARE, sale, arguments).await?;
        read_outcomes(&mut reply, sale, 1)?.pop().ok_or_else(|| unexpected("an outcome", "nothing"))
    }

    /// Submits payments in one atomic step: one outcome per wish, in order. Every wish must be for `sale`;
    /// another sale's order is [`PaymentOutcome::Unknown`].
    pub async fn submit_payments(
        &self,
        sale: SaleId,
        wishes: &[SubmitPayment],
    ) -> Result<Vec<PaymentOutcome>> {
        let mut arguments = Arguments::default().with(sale);
        for wish in wishes {
            arguments.push_id(wish.order.0);
            arguments.push_id(wish.buyer.0);
            arguments.push(u8::from(wish.details.is_some()));
            let details = wish.details.unwrap_or_default();
            arguments.push_optional(details.payment_method_id);
            arguments.push_optional(details.delivery_address_id);
            arguments.push_optional(well_formed_trace(wish.traceparent.as_deref()));
        }
        let mut reply = self.call::<Reply>(SUBMIT, sale, arguments).await?;
        read_outcomes(&mut reply, sale, wishes.len())
    }

    /// Submits one payment.
    pub async fn submit_payment(&self, wish: &SubmitPayment) -> Result<PaymentOutcome> {
        let mut outcomes = self.submit_payments(wish.sale, std::slice::from_ref(wish)).await?;
        outcomes.pop().ok_or_else(|| unexpected("an outcome", "nothing"))
    }
}

fn read_outcomes(reply: &mut Reply, sale: SaleId, expected: usize) -> Result<Vec<PaymentOutcome>> {
    let currency = reply.text()?;
    reply.outcomes(expected, |name, rest| {
        Ok(Some(match name {
            "prepared" => PaymentOutcome::Prepared(rest.reservation(sale, &currency)?),
            "submitted" => PaymentOutcome::Submitted(rest.reservation(sale, &currency)?),
            "already_submitted" => PaymentOutcome::AlreadySubmitted(rest.reservation(sale, &currency)?),
            "released" => PaymentOutcome::Released(rest.reason()?),
            "not_prepared" => PaymentOutcome::NotPrepared,
            "unknown" => PaymentOutcome::Unknown,
            _ => return Ok(None),
        }))
    })
}
