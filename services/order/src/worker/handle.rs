//! One batch of events, one transaction.
//!
//! ```text
//!   understand ──▶ ask Redis about payments ──▶ BEGIN
//!                                                 inbox: which events are new
//!                                                 lock their orders, apply in order (pure)
//!                                                 write orders, transitions, charges, outbox
//!                                                 write ledger and stock (hot rows, last)
//!                                               COMMIT ──▶ offsets
//! ```
//!
//! What PostgreSQL refuses because it breaks a rule of the tables (the ledger's CHECKs above all) is
//! never half-written and never retried for ever: the batch is taken apart, and the event at fault
//! is parked.

use anyhow::{Context, anyhow};
use async_trait::async_trait;
use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::{Delivery, HandleError, Handler};
use rocketmart_kit::outbox;
use rocketmart_stock::Stock;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::read::{News, read};
use super::verdicts::{self, Verdicts};
use crate::domain::batch::{Applied, Batch, Outcome};
use crate::store::{self, orders, skus};

const SOURCE: &str = "/rocketmart/order-worker";

/// Applies batches of events to the books.
pub struct Worker {
    pool: PgPool,
    stock: Stock,
}

#[async_trait]
impl Handler for Worker {
    async fn handle(&self, batch: &[Delivery]) -> Result<(), HandleError> {
        match self.handle_together(batch).await {
            Err(HandleError::Retry(error)) if is_violation(&error) => self.handle_apart(batch).await,
            handled => handled,
        }
    }
}

fn is_violation(error: &anyhow::Error) -> bool {
    error.downcast_ref::<sqlx::Error>().is_some_and(|error| {
        // A ledger row that does not exist is as much a broken rule as one that would go negative.
        store::is_violation(error) || matches!(error, sqlx::Error::RowNotFound)
    })
}

impl Worker {
    pub fn new(pool: PgPool, stock: Stock) -> Self {
        Self { pool, stock }
    }

    async fn handle_together(&self, batch: &[Delivery]) -> Result<(), HandleError> {
        let news = understand(batch)?;
        let verdicts = self.verdicts(&news).await?;
        let mut tx = self.pool.begin().await?;
        self.apply(&mut tx, batch, news, &verdicts).await?;
        tx.commit().await?;
        metrics::counter!("order_worker_events_total").increment(batch.len() as u64);
        Ok(())
    }

    /// Handles the events one by one, up to the first that PostgreSQL refuses: that one is poison.
    /// Those before it are committed, and found in the inbox when they come again.
    async fn handle_apart(&self, batch: &[Delivery]) -> Result<(), HandleError> {
        for (index, delivery) in batch.iter().enumerate() {
            match self.handle_together(std::slice::from_ref(delivery)).await {
                Err(HandleError::Retry(error)) if is_violation(&error) => {
                    tracing::error!(
                        event = delivery.event.id,
                        error = format!("{error:#}"),
                        "the books refuse an event"
                    );
                    metrics::counter!("order_worker_violations_total").increment(1);
                    return Err(HandleError::Poison { index, error });
                }
                Err(HandleError::Poison { error, .. }) => return Err(HandleError::Poison { index, error }),
                handled => handled?,
            }
        }
        Ok(())
    }

    async fn verdicts(&self, news: &[News]) -> Result<Verdicts, HandleError> {
        let paid_for: Vec<Uuid> = news
            .iter()
            .filter(|news| matches!(news, News::PaymentSucceeded(_) | News::PaymentFailed(_)))
            .filter_map(News::order_id)
            .collect();
        if paid_for.is_empty() {
            return Ok(Verdicts::new());
        }
        let booked = orders::find(&self.pool, &paid_for).await?;
        verdicts::ask(&self.stock, news, &booked).await
    }

    async fn apply(
        &self,
        tx: &mut PgConnection,
        deliveries: &[Delivery],
        news: Vec<News>,
        verdicts: &Verdicts,
    ) -> Result<(), HandleError> {
        let ids: Vec<String> = deliveries.iter().map(|delivery| delivery.event.id.clone()).collect();
        let mut new = outbox::inbox_filter(tx, &ids).await?;
        let mut named: Vec<Uuid> = news.iter().filter_map(News::order_id).collect();
        named.sort_unstable();
        named.dedup();
        let mut batch = Batch::new(orders::lock(tx, &named).await?);
        let mut not_yet = Vec::new();
        for (index, news) in news.into_iter().enumerate() {
            // Removed, so that an event that comes twice in one batch is new once.
            if !new.remove(&ids[index]) {
                continue;
            }
            match news {
                News::ProductChanged(product) => skus::follow(tx, &product).await?,
                News::ProductDeleted(product_id) => skus::withdraw(tx, product_id).await?,
                News::Other => {}
                of_an_order => {
                    let fact = of_an_order
                        .fact(verdicts.get(&index).copied())
                        .ok_or_else(|| anyhow!("no verdict on event {}", ids[index]))?;
                    match batch.apply(index, fact) {
                        Ok(Applied::Done) => {}
                        Ok(Applied::NotYet) => not_yet.push(ids[index].clone()),
                        Ok(Applied::OrderMissing) => {
                            let event = &deliveries[index].event;
                            let error =
                                anyhow!("{} of order {}, which is not known", event.event_type, event.key);
                            return Err(HandleError::Retry(error));
                        }
                        Err(contradiction) => {
                            return Err(HandleError::Poison { index, error: contradiction.into() });
                        }
                    }
                }
            }
        }
        forget(tx, &not_yet).await?;
        write(tx, deliveries, batch.finish()).await?;
        Ok(())
    }
}

fn understand(batch: &[Delivery]) -> Result<Vec<News>, HandleError> {
    batch
        .iter()
        .enumerate()
        .map(|(index, delivery)| {
            read(&delivery.event)
                .with_context(|| format!("event {} from {}", delivery.event.id, delivery.topic))
                .map_err(|error| HandleError::Poison { index, error })
        })
        .collect()
}

/// Takes events out of the inbox again that came before the order they are about: the relay still
/// has both and sends them again, in order.
async fn forget(tx: &mut PgConnection, ids: &[String]) -> sqlx::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    tracing::warn!(
        events = ids.len(),
        "events came before their orders; waiting for the relay to repeat them"
    );
    metrics::counter!("order_worker_out_of_order_total").increment(ids.len() as u64);
    sqlx::query("DELETE FROM inbox WHERE id = ANY($1)").bind(ids).execute(tx).await?;
    Ok(())
}

async fn write(tx: &mut PgConnection, deliveries: &[Delivery], outcome: Outcome) -> sqlx::Result<()> {
    let causes = outcome.effects.emitted.iter().map(|emitted| &deliveries[emitted.cause].event);
    let told = store::told(SOURCE, &outcome).into_iter().zip(causes);
    let told: Vec<Event> = told.map(|(event, cause)| event.caused_by(cause)).collect();
    store::write(tx, &outcome, &told, |index| deliveries[index].event.id.clone()).await
}
