//! Decides reservations for good: sold, or given back. The first decision wins, and all later calls learn
//! what it was.

use std::time::Duration;

use crate::id::{BuyerId, OrderId, SaleId};
use crate::reply::{Reply, unexpected};
use crate::reservation::{ConfirmOutcome, DeclineOutcome, Expired, ReleaseOutcome, ReleaseReason};

use super::{Arguments, Function, Result, Stock};

const CONFIRM: Function = Function::new("rocketmart_confirm");
const DECLINE: Function = Function::new("rocketmart_decline_payments");
const RELEASE: Function = Function::new("rocketmart_release");
const EXPIRE: Function = Function::new("rocketmart_expire");

impl Stock {
    /// Turns reserved units into sold ones for orders whose payment succeeded. Appends no event: the caller
    /// writes the outcome to SQL.
    pub async fn confirm(&self, sale: SaleId, orders: &[OrderId]) -> Result<Vec<ConfirmOutcome>> {
        let mut arguments = Arguments::default();
        for order in orders {
            arguments.push(order);
        }
        let mut reply = self.call::<Reply>(CONFIRM, sale, arguments).await?;
        reply.outcomes(orders.len(), |name, rest| {
            Ok(Some(match name {
                "confirmed" => ConfirmOutcome::Confirmed,
                "already_confirmed" => ConfirmOutcome::AlreadyConfirmed,
                "released" => ConfirmOutcome::Released(rest.reason()?),
                "unknown" => ConfirmOutcome::Unknown,
                _ => return Ok(None),
            }))
        })
    }

    /// Reports payments that failed, each by its number within the order. The units stay held while there is
    /// time to pay for them in another way. Appends no event: the caller writes the outcome to SQL.
    pub async fn decline_payments(
        &self,
        sale: SaleId,
        payments: &[(OrderId, u32)],
    ) -> Result<Vec<DeclineOutcome>> {
        let mut arguments = Arguments::default();
        for (order, number) in payments {
            arguments.push(order);
            arguments.push(number);
        }
        let mut reply = self.call::<Reply>(DECLINE, sale, arguments).await?;
        let outcomes = reply.outcomes(payments.len(), |name, rest| {
            Ok(Some(match name {
                "held" => DeclineOutcome::Held,
                "released" => DeclineOutcome::Released,
                "already_released" => DeclineOutcome::AlreadyReleased(rest.reason()?),
                "already_confirmed" => DeclineOutcome::AlreadyConfirmed,
                "unknown" => DeclineOutcome::Unknown,
                _ => return Ok(None),
            }))
        })?;
        if outcomes.contains(&DeclineOutcome::Released) {
            self.sold_out.clear(sale);
        }
        Ok(outcomes)
    }

    /// Gives units back. `Cancelled` and `Expired` append an event; `PaymentFailed` does not, because the
    /// caller writes that to SQL. `Expired` is refused before the deadline, and once a payment was submitted.
    pub async fn release(
        &self,
        sale: SaleId,
        orders: &[(OrderId, ReleaseReason)],
    ) -> Result<Vec<ReleaseOutcome>> {
        self.give_back(sale, orders.iter().map(|&(order, reason)| (order, None, reason))).await
    }

    /// A buyer's own cancellation. Another buyer's order is [`ReleaseOutcome::Unknown`].
    pub async fn cancel(&self, sale: SaleId, order: OrderId, buyer: BuyerId) -> Result<ReleaseOutcome> {
        let order = (order, Some(buyer), ReleaseReason::Cancelled);
        let mut outcomes = self.give_back(sale, std::iter::once(order)).await?;
        outcomes.pop().ok_or_else(|| unexpected("an outcome", "nothing"))
    }

    /// Looks at up to `limit` reservations whose deadline has passed by Redis' clock, and releases them. One
    /// whose payment is under way is left alone until `grace` after its deadline: that is how long a slow
    /// provider may take to answer for a charge made before it.
    pub async fn expire(&self, sale: SaleId, limit: usize, grace: Duration) -> Result<Expired> {
        let arguments = Arguments::default().with(sale).with(limit).with(grace.as_millis());
        let mut reply = self.call::<Reply>(EXPIRE, sale, arguments).await?;
        let expired = Expired { released: reply.number()?, looked_at: reply.number()? };
        if expired.released > 0 {
            self.sold_out.clear(sale);
        }
        Ok(expired)
    }

    async fn give_back(
        &self,
        sale: SaleId,
        orders: impl ExactSizeIterator<Item = (OrderId, Option<BuyerId>, ReleaseReason)>,
    ) -> Result<Vec<ReleaseOutcome>> {
        let expected = orders.len();
        let mut arguments = Arguments::default().with(sale);
        for (order, buyer, reason) in orders {
            arguments.push(order);
            arguments.push_optional(buyer);
            arguments.push(reason.as_str());
        }
        let mut reply = self.call::<Reply>(RELEASE, sale, arguments).await?;
        let outcomes = reply.outcomes(expected, |name, rest| {
            Ok(Some(match name {
                "released" => ReleaseOutcome::Released,
                "already_released" => ReleaseOutcome::AlreadyReleased(rest.reason()?),
                "already_confirmed" => ReleaseOutcome::AlreadyConfirmed,
                "not_due" => ReleaseOutcome::NotDue,
                "unknown" => ReleaseOutcome::Unknown,
                _ => return Ok(None),
            }))
        })?;
        if outcomes.contains(&ReleaseOutcome::Released) {
            self.sold_out.clear(sale);
        }
        Ok(outcomes)
    }
}
