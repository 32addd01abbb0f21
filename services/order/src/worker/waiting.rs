//! Reservations that come before the units they need.
//!
//! A unit that one order gives back is sold to another one in Redis at once. The news of the two are in two
//! partitions, perhaps with two workers, so SQL may hear of the second buyer before it hears that the first
//! one is out. The ledger's CHECK refuses that, and nothing is wrong: the units are on their way.
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
//! What waits is in no inbox: order-relay keeps it in the stream, and a lost sale is not rebuilt without it.
//! The CHECK stays the last guard: what Redis sold twice waits in vain, and is parked when it comes again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use rocketmart_contracts::topic::RESERVATIONS;
use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::{Delivery, HandleError};
use rocketmart_kit::outbox;
use rocketmart_kit::pace::Pace;
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Worker;
use super::handle::{Ground, Take, hold, ids, is_shortage, understand};
use super::read::News;
use super::verdicts::Asked;
use crate::domain::batch::Fact;
use crate::events::Reserved;
use crate::store::parked::Parked;
use crate::store::{orders, waiting};

/// How soon it is noticed that the units have come.
const PERIOD: Duration = Duration::from_millis(200);
/// How long they may be on their way: longer than a worker may be behind.
const PATIENCE: Duration = Duration::from_mins(10);
/// Events in one transaction.
const AT_ONCE: i64 = 500;
/// How often a batch is fitted to units that others take meanwhile, before it is left for a moment.
const FITTINGS: usize = 5;

/// Units that nobody has reserved, by sale and SKU.
pub(super) type Free = HashMap<(Uuid, String), i64>;

pub(super) async fn run(worker: Arc<Worker>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut pace = Pace::every(PERIOD, "reservations go on waiting for their units");
    while pace.rest(worker.book_waiting().await, &stop).await {}
    Ok(())
}

/// What the reservations among `news` could have now.
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

impl Worker {
    /// Books what the units left cover, and lets the rest wait for theirs.
    pub(super) async fn handle_what_fits(&self, batch: &[Delivery]) -> Result<(), HandleError> {
        for _ in 1..FITTINGS {
            match self.handle_together(batch, Take::WhatFits).await {
                // Somebody else has taken units that were there a moment ago.
                Err(HandleError::Retry(error)) if is_shortage(&error) => {}
                handled => return handled,
            }
        }
        self.handle_together(batch, Take::WhatFits).await
    }

    /// Books what waits and whose units have come, once.
    pub async fn book_waiting(&self) -> anyhow::Result<()> {
        waiting::forget_booked(&self.pool).await?;
        let mut after = i64::MIN;
        // All of them: what waits for units of one sale must not hide what could be booked in another.
        while let Some((last, events)) = waiting::page(&self.pool, after, AT_ONCE).await? {
            self.book_some(events).await;
            after = last;
        }
        for event in waiting::refuse(&self.pool, PATIENCE).await? {
            tracing::error!(event, "the books refuse an event: the units did not come");
            metrics::counter!("order_worker_violations_total").increment(1);
        }
        Ok(())
    }

    async fn book_some(&self, events: Vec<Event>) {
        let deliveries: Vec<_> = events
            .into_iter()
            .map(|event| Delivery { topic: RESERVATIONS.to_owned(), partition: 0, offset: 0, event })
            .collect();
        if self.handle_waiting(&deliveries).await.is_err() {
            // One by one, so that one does not hold up the others.
            for delivery in &deliveries {
                if let Err(HandleError::Retry(error) | HandleError::Poison { error, .. }) =
                    self.handle_waiting(std::slice::from_ref(delivery)).await
                {
                    tracing::warn!(event = delivery.event.id, error = format!("{error:#}"), "not booked yet");
                }
            }
        }
    }

    async fn handle_waiting(&self, events: &[Delivery]) -> Result<(), HandleError> {
        let (news, asked) = (understand(events)?, Asked::default());
        let mut tx = self.pool.begin().await?;
        let standing = hold(&mut tx, &news, &asked).await?;
        let mut ours = waiting::lock(&mut tx, &ids(events)).await?;
        let new = outbox::inbox_filter(&mut tx, &ours).await?;
        let free = Some(free(&mut tx, &news).await?);
        let waits = self.apply(&mut tx, events, news, &Ground { asked, standing, free }, new).await?;
        ours.retain(|id| !waits.contains(id));
        waiting::forget(&mut tx, &ours).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Events of a batch that cannot be booked yet.
#[derive(Default)]
pub(super) struct Aside {
    /// Reservations whose units are not there: index in the batch, sale and order.
    too_early: Vec<(usize, Uuid, Uuid)>,
    /// Events that came before the order they are about.
    without_order: Vec<(usize, Uuid, Uuid)>,
}

impl Aside {
    pub(super) fn too_early(&mut self, index: usize, event: &Reserved) {
        self.too_early.push((index, event.sale_id, event.order_id));
    }

    /// `origin`: the sale and the order.
    pub(super) fn without_order(&mut self, index: usize, origin: Option<(Uuid, Uuid)>) {
        self.without_order.extend(origin.map(|(sale, order)| (index, sale, order)));
    }

    /// Takes these events out of the inbox again. What waits for units, and what follows it, is kept; of the
    /// rest the relay has both the event and its order, and sends them again in order. Answers the ids of
    /// what is kept.
    pub(super) async fn keep(
        mut self,
        tx: &mut PgConnection,
        deliveries: &[Delivery],
    ) -> Result<HashSet<String>, HandleError> {
        if self.too_early.is_empty() && self.without_order.is_empty() {
            return Ok(HashSet::new());
        }
        let orphans: Vec<Uuid> = self.without_order.iter().map(|(.., order)| *order).collect();
        let mut waiting_orders = waiting::of_orders(tx, &orphans).await?;
        waiting_orders.extend(self.too_early.iter().map(|(.., order)| *order));
        let (followers, strays): (Vec<_>, Vec<_>) =
            self.without_order.into_iter().partition(|(.., order)| waiting_orders.contains(order));
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
        let waiting_events: Vec<Parked<'_>> = self
            .too_early
            .iter()
            .map(|(index, sale_id, order_id)| Parked {
                sale_id: *sale_id,
                order_id: *order_id,
                event: &deliveries[*index].event,
            })
            .collect();
        waiting::keep(tx, &waiting_events).await?;
        metrics::counter!("order_worker_waiting_total").increment(kept.len() as u64);
        Ok(kept.into_iter().collect())
    }
}
