//! Books deferred payments, and what followed them, once we trust Redis again.
//!
//! The transaction that books an event also removes it from the table. So when two workers try, one books
//! it, and a crash in between leaves it where it was.

use std::sync::Arc;
use std::time::Duration;

use rocketmart_contracts::topic::PAYMENTS;
use rocketmart_kit::kafka::{Delivery, HandleError};
use rocketmart_kit::pace::Pace;
use tokio_util::sync::CancellationToken;

use super::booking::{Ground, Worker, hold, ids, understand};
use super::violation::is_violation;
use crate::store::parked;

/// How soon we notice the end of a doubt.
const PERIOD: Duration = Duration::from_millis(500);
/// How many events one transaction handles.
const AT_ONCE: i64 = 500;

pub(super) async fn run(worker: Arc<Worker>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut pace = Pace::every(PERIOD, "payments stay parked");
    while pace.rest(worker.book_deferred_payments().await, &stop).await {}
    Ok(())
}

impl Worker {
    /// One pass: books the deferred payments that need not wait any more.
    pub async fn book_deferred_payments(&self) -> anyhow::Result<()> {
        parked::find_sales(&mut *self.pool.acquire().await?).await?;
        let events = parked::ready(&self.pool, AT_ONCE).await?;
        if events.is_empty() {
            return Ok(());
        }
        let deferred: Vec<_> = events
            .into_iter()
            .map(|event| Delivery { topic: PAYMENTS.to_owned(), partition: 0, offset: 0, event })
            .collect();
        if self.resume_payments(&deferred).await.is_ok() {
            return Ok(());
        }
        // One by one, so that one does not hold up the others.
        for delivery in &deferred {
            match self.resume_payments(std::slice::from_ref(delivery)).await {
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

    /// Books these payments, unless we distrust Redis again.
    async fn resume_payments(&self, deferred: &[Delivery]) -> Result<(), HandleError> {
        let news = understand(deferred)?;
        let asked = self.ask(&news).await?;
        let mut tx = self.pool.begin().await?;
        let standing = hold(&mut tx, &news, &asked).await?;
        let mut decided = ids(deferred);
        let mut index = 0..;
        decided.retain(|_| index.next().is_some_and(|index| !asked.deferred.contains_key(&index)));
        let taken = parked::take(&mut tx, &decided).await?;
        self.apply(&mut tx, deferred, news, &Ground { asked, standing, free: None }, taken).await?;
        tx.commit().await?;
        Ok(())
    }
}
