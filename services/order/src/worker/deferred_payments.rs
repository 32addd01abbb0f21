//! Payments that are deferred until we trust Redis again, and what follows them.
//!
//! After SQL was restored from a backup, the topics are read again, in any order. News about an order that
//! is not known yet is deferred here until it is.

use std::collections::HashMap;

use rocketmart_kit::event::Event;
use sqlx::PgConnection;
use uuid::Uuid;

use super::read::News;
use crate::store::parked::{self, Parked};

/// The events of a batch that are deferred, and the orders whose earlier events already were.
pub(super) struct DeferredPayments<'a> {
    orders: HashMap<Uuid, Uuid>,
    events: Vec<Parked<'a>>,
}

impl<'a> DeferredPayments<'a> {
    /// Loads what is already deferred for the orders in `news`.
    pub(super) async fn before(tx: &mut PgConnection, news: &[News]) -> sqlx::Result<Self> {
        let following = news.iter().filter(|news| news.follows_a_payment());
        let orders: Vec<Uuid> = following.filter_map(News::order_id).collect();
        Ok(Self { orders: parked::of_orders(tx, &orders).await?, events: Vec::new() })
    }

    /// The sale and the order, if something that came before this is deferred.
    pub(super) fn comes_before(&self, news: &News) -> Option<(Uuid, Uuid)> {
        let order = news.order_id().filter(|_| news.follows_a_payment())?;
        Some((*self.orders.get(&order)?, order))
    }

    pub(super) fn defer(&mut self, sale_id: Uuid, order_id: Uuid, event: &'a Event) {
        self.orders.insert(order_id, sale_id);
        self.events.push(Parked { sale_id, order_id, event });
    }

    pub(super) async fn keep(self, tx: &mut PgConnection) -> sqlx::Result<()> {
        metrics::counter!("order_worker_parked_total").increment(self.events.len() as u64);
        parked::park(tx, &self.events).await
    }
}
