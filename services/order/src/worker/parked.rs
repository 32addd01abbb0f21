//! Payments that waited for Redis to be believed again, and what followed them.
//!
//! An event is taken out of the table in the transaction that books it, so of two workers that try one
//! books it, and a crash in between leaves it where it was.
//!
//! After SQL was restored from a backup the topics are read again, in any order: what is told of an order that
//! is not known yet waits here until it is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rocketmart_contracts::topic::PAYMENTS;
use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::{Delivery, HandleError};
use rocketmart_kit::pace::Pace;
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Worker;
use super::handle::is_violation;
use super::read::News;
use crate::store::parked::{self, Parked};

/// How soon the end of a doubt is noticed.
const PERIOD: Duration = Duration::from_millis(500);
/// Events in one transaction.
const AT_ONCE: i64 = 500;

pub(super) async fn run(worker: Arc<Worker>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut pace = Pace::every(PERIOD, "payments stay parked");
    while pace.rest(worker.book_parked().await, &stop).await {}
    Ok(())
}

impl Worker {
    /// Books what is parked and need not wait any more, once.
    pub async fn book_parked(&self) -> anyhow::Result<()> {
        parked::find_sales(&mut *self.pool.acquire().await?).await?;
        let events = parked::ready(&self.pool, AT_ONCE).await?;
        if events.is_empty() {
            return Ok(());
        }
        let waiting: Vec<_> = events
            .into_iter()
            .map(|event| Delivery { topic: PAYMENTS.to_owned(), partition: 0, offset: 0, event })
            .collect();
        if self.handle_parked(&waiting).await.is_ok() {
            return Ok(());
        }
        // One by one, so that one does not hold up the others.
        for delivery in &waiting {
            match self.handle_parked(std::slice::from_ref(delivery)).await {
                Ok(()) => {}
                Err(HandleError::Retry(error)) if !is_violation(&error) => return Err(error),
                Err(HandleError::Retry(error) | HandleError::Poison { error, .. }) => {
                    let id = &delivery.event.id;
                    tracing::error!(event = id, error = format!("{error:#}"), "the books refuse a payment");
                    metrics::counter!("order_worker_violations_total").increment(1);
                    parked::refuse(&self.pool, id, &format!("{error:#}")).await?;
                }
            }
        }
        Ok(())
    }
}

/// Events of a batch that wait, and the orders that events before them wait for.
pub(super) struct Unanswered<'a> {
    orders: HashMap<Uuid, Uuid>,
    events: Vec<Parked<'a>>,
}

impl<'a> Unanswered<'a> {
    /// Knows of what is parked already about the orders that this follows.
    pub(super) async fn before(tx: &mut PgConnection, news: &[News]) -> sqlx::Result<Self> {
        let following = news.iter().filter(|news| news.follows_a_payment());
        let orders: Vec<Uuid> = following.filter_map(News::order_id).collect();
        Ok(Self { orders: parked::of_orders(tx, &orders).await?, events: Vec::new() })
    }

    /// The sale and the order, if something that came before this is parked.
    pub(super) fn comes_before(&self, news: &News) -> Option<(Uuid, Uuid)> {
        let order = news.order_id().filter(|_| news.follows_a_payment())?;
        Some((*self.orders.get(&order)?, order))
    }

    pub(super) fn park(&mut self, sale_id: Uuid, order_id: Uuid, event: &'a Event) {
        self.orders.insert(order_id, sale_id);
        self.events.push(Parked { sale_id, order_id, event });
    }

    pub(super) async fn keep(self, tx: &mut PgConnection) -> sqlx::Result<()> {
        metrics::counter!("order_worker_parked_total").increment(self.events.len() as u64);
        parked::park(tx, &self.events).await
    }
}
