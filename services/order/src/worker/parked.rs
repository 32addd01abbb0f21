//! Payments that waited for Redis to be believed again.
//!
//! An event is taken out of the table in the transaction that books it, so of two workers that try one
//! books it, and a crash in between leaves it where it was.

use std::sync::Arc;
use std::time::Duration;

use rocketmart_kit::kafka::{Delivery, HandleError};
use rocketmart_kit::pace::Pace;
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::handle::is_violation;
use crate::events::PAYMENTS;
use crate::store::parked;

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
