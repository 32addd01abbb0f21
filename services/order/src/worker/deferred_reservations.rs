//! Reservations that are deferred until the units they need have come.
//!
//! When one order gives a unit back, Redis sells it to another at once. The news of the two orders is in
//! two partitions, perhaps with two workers, so SQL may hear of the second buyer before it hears that the
//! first one is out. The ledger's CHECK refuses that, and nothing is wrong: the units are on their way.
//!
//! ```text
//!   the ledger refuses a batch ──▶ what do the units left cover? ──▶ booked, as any batch
//!                                            │ not these
//!                                            ▼
//!       a table, and what follows about the same orders ──▶ looked at often ──▶ booked when the units are
//!                                                                   │ not in a long time
//!                                                                   ▼
//!                                                            left to a person
//! ```
//! What is deferred is in no inbox: order-relay keeps it in the stream, and a lost sale is not rebuilt
//! without it. The CHECK stays the last guard: deferring does not help what Redis sold twice, and it is
//! parked when it comes again.

use std::collections::{HashMap, HashSet};

use anyhow::anyhow;
use rocketmart_contracts::event::Reserved;
use rocketmart_kit::kafka::{Delivery, HandleError};
use rocketmart_kit::outbox;
use sqlx::PgConnection;
use uuid::Uuid;

use super::read::News;
use crate::domain::batch::Fact;
use crate::store::parked::Parked;
use crate::store::{orders, waiting};

/// Units that nobody has reserved, by sale and SKU.
pub(super) type Free = HashMap<(Uuid, String), i64>;

/// What the reservations in `news` could get now.
pub(super) async fn free(tx: &mut PgConnection, news: &[News]) -> sqlx::Result<Free> {
    let reserved = news.iter().filter_map(|news| match news {
        News::Fact(Fact::Reserved(event)) => Some(event),
        _ => None,
    });
    let items: Vec<(Uuid, &str)> = reserved
        .flat_map(|event| event.lines.iter().map(|line| (event.sale_id, line.sku.as_str())))
        .collect();
    waiting::room(tx, &items).await
}

/// The events of a batch that cannot be booked yet.
#[derive(Default)]
pub(super) struct DeferredReservations {
    /// Reservations whose units are not there, by index in the batch, sale and order.
    too_early: Vec<(usize, Uuid, Uuid)>,
    /// Events that came before their order.
    without_order: Vec<(usize, Uuid, Uuid)>,
}

impl DeferredReservations {
    pub(super) fn too_early(&mut self, index: usize, event: &Reserved) {
        self.too_early.push((index, event.sale_id, event.order_id));
    }

    /// `origin` is the sale and the order.
    pub(super) fn without_order(&mut self, index: usize, origin: Option<(Uuid, Uuid)>) {
        self.without_order.extend(origin.map(|(sale, order)| (index, sale, order)));
    }

    /// Takes these events out of the inbox again. It keeps what is deferred and what follows that. For the
    /// rest the relay has both the event and its order, and sends them again in order. Returns the ids of
    /// what it keeps.
    pub(super) async fn keep(
        mut self,
        tx: &mut PgConnection,
        deliveries: &[Delivery],
    ) -> Result<HashSet<String>, HandleError> {
        if self.too_early.is_empty() && self.without_order.is_empty() {
            return Ok(HashSet::new());
        }
        let orphans: Vec<Uuid> = self.without_order.iter().map(|(.., order)| *order).collect();
        let mut deferred_orders = waiting::of_orders(tx, &orphans).await?;
        deferred_orders.extend(self.too_early.iter().map(|(.., order)| *order));
        let (followers, strays): (Vec<_>, Vec<_>) =
            self.without_order.into_iter().partition(|(.., order)| deferred_orders.contains(order));
        self.too_early.extend(followers);
        self.too_early.sort_unstable_by_key(|(index, ..)| *index);

        let strayed: Vec<Uuid> = strays.iter().map(|(.., order)| *order).collect();
        if orders::any(tx, &strayed).await? {
            return Err(HandleError::Retry(anyhow!("an order was booked while an event about it was read")));
        }
        if !strays.is_empty() {
            tracing::warn!(
                events = strays.len(),
                "events came before their orders; waiting for the relay to repeat them"
            );
            metrics::counter!("order_worker_out_of_order_total").increment(strays.len() as u64);
        }
        let id = |index: usize| deliveries[index].event.id.clone();
        let kept: Vec<String> = self.too_early.iter().map(|(index, ..)| id(*index)).collect();
        let refused = waiting::refused(tx, &kept).await?;
        if let Some((index, ..)) = self.too_early.iter().find(|(index, ..)| refused.contains(&id(*index))) {
            let error = anyhow!("a reservation of more units than there are");
            return Err(HandleError::Poison { index: *index, error });
        }
        let not_received: Vec<String> =
            kept.iter().cloned().chain(strays.iter().map(|(index, ..)| id(*index))).collect();
        outbox::inbox_forget(tx, &not_received).await?;
        let deferred: Vec<Parked<'_>> = self
            .too_early
            .iter()
            .map(|(index, sale_id, order_id)| Parked {
                sale_id: *sale_id,
                order_id: *order_id,
                event: &deliveries[*index].event,
            })
            .collect();
        waiting::keep(tx, &deferred).await?;
        metrics::counter!("order_worker_waiting_total").increment(kept.len() as u64);
        Ok(kept.into_iter().collect())
    }
}
