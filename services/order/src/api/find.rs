//! Finding an order by its id.
//!
//! What a buyer does to an order (pay, cancel) is decided by Redis, in the one sale that the order's id points
//! to. Should it point to none, or that sale not know the order, PostgreSQL is asked once where it is; that is
//! counted, since anybody can invent ids. What a buyer reads comes from PostgreSQL, and from Redis while the
//! worker has not caught up (or PostgreSQL is away). While Redis is away what is booked is told.

use std::time::Duration;

use rocketmart_kit::problem::{Problem, Result};
use rocketmart_stock::{OrderId, SaleId};
use uuid::Uuid;

use super::view::{OrderView, PaymentProgress};
use super::{App, problems};
use crate::domain::state::OrderState;
use crate::store::{orders, sales};

/// How long Redis is waited for by one who reads an order that is booked already.
const PATIENCE: Duration = Duration::from_secs(1);

impl App {
    /// The order if it is this buyer's; anybody else's is as unknown as one that does not exist.
    ///
    /// PostgreSQL may be a moment behind, so an order it has as reserved is looked up in Redis too:
    /// a buyer who has just paid or cancelled reads that back. A payment that failed is told by PostgreSQL,
    /// which knows why: until then it is on its way.
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

    /// Sales in which an order may be found in Redis, to be looked at one after the other.
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

/// The sale that an order's id points to, then where PostgreSQL says that it is.
pub(super) struct Places<'a> {
    app: &'a App,
    order: Uuid,
    buyer: Uuid,
    sales: Vec<SaleId>,
    next: usize,
    looked_up: bool,
}

impl Places<'_> {
    /// The next sale to ask; `None` when all there are were asked.
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
