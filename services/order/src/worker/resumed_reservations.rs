//! Books deferred reservations once their units have come, and then what follows them.
//!
//! We look often at everything that is deferred, oldest first. What has waited too long is left for a
//! person.

use std::sync::Arc;
use std::time::Duration;

use rocketmart_contracts::topic::RESERVATIONS;
use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::{Delivery, HandleError};
use rocketmart_kit::outbox;
use rocketmart_kit::pace::Pace;
use tokio_util::sync::CancellationToken;

use super::booking::{Ground, Worker, hold, ids, understand};
use super::deferred_reservations::free;
use super::verdicts::Asked;
use crate::store::waiting;

/// How soon we notice that the units have come.
const PERIOD: Duration = Duration::from_millis(200);
/// How long the units may be on their way: longer than a worker may be behind.
const PATIENCE: Duration = Duration::from_mins(10);
/// How many events one transaction handles.
const AT_ONCE: i64 = 500;

pub(super) async fn run(worker: Arc<Worker>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut pace = Pace::every(PERIOD, "reservations go on waiting for their units");
    while pace.rest(worker.book_deferred_reservations().await, &stop).await {}
    Ok(())
}

impl Worker {
    /// One pass: books the deferred reservations whose units have come.
    pub async fn book_deferred_reservations(&self) -> anyhow::Result<()> {
        waiting::forget_booked(&self.pool).await?;
        let mut after = i64::MIN;
        // All of them: what one sale defers must not hide what another could book.
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
        if self.resume_reservations(&deliveries).await.is_err() {
            // One by one, so that one does not hold up the others.
            for delivery in &deliveries {
                if let Err(HandleError::Retry(error) | HandleError::Poison { error, .. }) =
                    self.resume_reservations(std::slice::from_ref(delivery)).await
                {
                    tracing::warn!(event = delivery.event.id, error = format!("{error:#}"), "not booked yet");
                }
            }
        }
    }

    async fn resume_reservations(&self, events: &[Delivery]) -> Result<(), HandleError> {
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
