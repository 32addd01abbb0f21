//! Finding an order by its id.
//!
//! Redis decides what a buyer does to an order (pay, cancel), in the one sale that the order's id points
//! to. If the id points to no sale, or that sale does not know the order, we ask PostgreSQL once where it
//! is. We count those look-ups, since anybody can invent ids. What a buyer reads comes from PostgreSQL, and
//! from Redis while the worker has not caught up (or PostgreSQL is away). While Redis is away, we answer
//! with what is booked.

use std::time::Duration;

use rocketmart_kit::problem::{Problem, Result};
use rocketmart_stock::{OrderId, SaleId};
use uuid::Uuid;

use super::view::{OrderView, PaymentProgress};
use super::{App, problems};
use crate::domain::state::OrderState;
use crate::store::{orders, sales};

/// How long a reader of an order that is already booked waits for Redis.
const PATIENCE: Duration = Duration::from_secs(1);

impl App {
    /// The order, if it belongs to this buyer. Anybody else's order is as unknown as one that does not
    /// exist.
    ///
    /// PostgreSQL may be a moment behind, so we look an order that it has as reserved up in Redis too: a
    /// buyer who has just paid or cancelled sees that. PostgreSQL reports a failed payment, because it
    /// knows why. Until then the payment is under way.
    pub(super) async fn find_order(&self, id: Uuid, buyer: Uuid) -> Result<OrderView> {
        self.look_ups.allow(buyer)?;
        let booked = orders::find(&self.pool, &[id]).await;
        let booked = match booked {
            Ok(mut found) => found.pop().map(|order| (order.buyer_id, OrderView::from(order))),
            Err(error) => {
                tracing::warn!(%error, order = %id, "looking for an order in Redis alone");
                return self.held_order(id, buyer).await?.ok_or_else(|| Problem::from(error));
            }
        };
        match booked {
            Some((owner, _)) if owner != buyer => {
                self.look_ups.count(buyer)?;
                Err(problems::order_unknown())
            }
            Some((_, view)) if view.state != OrderState::Reserved => Ok(view),
            Some((_, view)) => {
                let held = tokio::time::timeout(PATIENCE, self.held_order(id, buyer)).await;
                let held = held.ok().and_then(std::result::Result::unwrap_or_default);
                let has_failed = |held: &OrderView| {
                    held.payment.as_ref().is_some_and(|payment| payment.state == PaymentProgress::Failed)
                };
                Ok(held.filter(|held| !has_failed(held)).unwrap_or(view))
            }
            None => self.held_order(id, buyer).await?.ok_or_else(problems::order_unknown),
        }
    }

    /// The order as Redis keeps it.
    pub(super) async fn held_order(&self, id: Uuid, buyer: Uuid) -> Result<Option<OrderView>> {
        let mut places = self.places_of(id, buyer);
        while let Some(sale) = places.next().await? {
            let found = self.stock.get(sale, OrderId(id)).await.map_err(problems::stock)?;
            if let Some(reservation) = found {
                return Ok((reservation.buyer.0 == buyer).then(|| reservation.into()));
            }
        }
        Ok(None)
    }

    /// The sales in which Redis may have the order, to look at one after the other.
    pub(super) fn places_of(&self, order: Uuid, buyer: Uuid) -> Places<'_> {
        Places {
            app: self,
            order,
            buyer,
            sales: self.sales.places_of(OrderId(order)),
            next: 0,
            looked_up: false,
        }
    }
}

/// First the sale that the order's id points to, then the one that PostgreSQL names.
pub(super) struct Places<'a> {
    app: &'a App,
    order: Uuid,
    buyer: Uuid,
    sales: Vec<SaleId>,
    next: usize,
    looked_up: bool,
}

impl Places<'_> {
    /// The next sale to ask; `None` when there are no more.
    pub(super) async fn next(&mut self) -> Result<Option<SaleId>> {
        if self.next == self.sales.len() && !self.looked_up {
            self.looked_up = true;
            self.app.look_ups.count(self.buyer)?;
            let found = sales::places_of(&self.app.pool, self.order).await?;
            let new = found.into_iter().map(SaleId).filter(|sale| !self.sales.contains(sale));
            let new: Vec<_> = new.collect();
            self.sales.extend(new);
        }
        let sale = self.sales.get(self.next).copied();
        self.next += 1;
        Ok(sale)
    }
}
