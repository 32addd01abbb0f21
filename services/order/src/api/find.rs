//! Finding an order by its id.
//!
//! What a buyer does to an order (pay, cancel) is decided by Redis. An order id hints at its sale, which
//! is asked first; another one could share the hint, so the others are asked as well until one knows
//! the order. What a buyer reads comes from PostgreSQL, and from Redis while the worker has not caught
//! up (or PostgreSQL is away).

use rocketmart_kit::problem::{Problem, Result};
use rocketmart_stock::OrderId;
use uuid::Uuid;

use super::view::OrderView;
use super::{App, problems};
use crate::domain::state::OrderState;
use crate::store::orders;

impl App {
    /// The order if it is this buyer's; anybody else's is as unknown as one that does not exist.
    ///
    /// PostgreSQL may be a moment behind, so an order it has as reserved is looked up in Redis too:
    /// a buyer who has just paid or cancelled reads that back. A payment that failed is told once
    /// PostgreSQL knows why.
    pub(super) async fn find_order(&self, id: Uuid, buyer: Uuid) -> Result<OrderView> {
        let booked = orders::find(&self.pool, &[id]).await;
        let booked = match booked {
            Ok(mut found) => found.pop().map(|order| (order.buyer_id, OrderView::from(order))),
            Err(error) => {
                tracing::warn!(%error, order = %id, "looking for an order in Redis alone");
                return self.held_order(id, buyer).await?.ok_or_else(|| Problem::from(error));
            }
        };
        match booked {
            Some((owner, _)) if owner != buyer => Err(problems::order_unknown()),
            Some((_, view)) if view.state != OrderState::Reserved => Ok(view),
            Some((_, view)) => {
                let held = self.held_order(id, buyer).await?;
                Ok(held.filter(|held| held.state != OrderState::PaymentFailed).unwrap_or(view))
            }
            None => self.held_order(id, buyer).await?.ok_or_else(problems::order_unknown),
        }
    }

    /// The order as Redis keeps it.
    pub(super) async fn held_order(&self, id: Uuid, buyer: Uuid) -> Result<Option<OrderView>> {
        let mut places = self.sales.places_of(OrderId(id));
        while let Some(sale) = places.next().await {
            let found = self.stock.get(sale, OrderId(id)).await.map_err(problems::stock)?;
            if let Some(reservation) = found {
                return Ok((reservation.buyer.0 == buyer).then(|| reservation.into()));
            }
        }
        Ok(None)
    }

    /// What to answer about an order that no loaded sale knows: it is over, or it never was.
    pub(super) async fn not_in_redis(&self, id: Uuid, buyer: Uuid, code: &'static str) -> Problem {
        match orders::find(&self.pool, &[id]).await {
            Err(error) => error.into(),
            Ok(found) => match found.into_iter().find(|order| order.buyer_id == buyer) {
                // Redis has lost it.
                Some(order) if order.state == OrderState::Reserved => problems::sale_paused(),
                Some(order) => Problem::conflict(code, format!("the order is {}", order.state)),
                None => problems::order_unknown(),
            },
        }
    }
}
