//! Handles batches of events as Kafka brings them: one batch, one transaction, and then its offsets.
//!
//! If PostgreSQL refuses a batch because it breaks a rule of the tables (above all the ledger's CHECKs), we
//! never half-write it and never retry it for ever. We take the batch apart and park the event at fault. A
//! reservation whose units are not there yet is no such fault: it is deferred, and the rest of the batch is
//! booked.

use async_trait::async_trait;
use rocketmart_kit::kafka::{Delivery, HandleError, Handler};
use rocketmart_kit::outbox;

use super::booking::{Ground, Worker, hold, ids, understand};
use super::deferred_reservations::free;
use super::violation::{is_shortage, is_violation};

/// How often we refit a batch while others take its units, before we leave it for a moment.
const FITTINGS: usize = 5;

#[async_trait]
impl Handler for Worker {
    async fn handle(&self, batch: &[Delivery]) -> Result<(), HandleError> {
        let handled = match self.handle_together(batch, Take::All).await {
            Err(HandleError::Retry(error)) if is_shortage(&error) => self.handle_what_fits(batch).await,
            handled => handled,
        };
        match handled {
            Err(HandleError::Retry(error)) if is_violation(&error) && !is_shortage(&error) => {
                self.handle_apart(batch).await
            }
            handled => handled,
        }
    }
}

/// Which reservations of a batch to book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Take {
    All,
    /// Those whose units are there; the others are deferred.
    WhatFits,
}

impl Worker {
    async fn handle_together(&self, batch: &[Delivery], take: Take) -> Result<(), HandleError> {
        let news = understand(batch)?;
        let asked = self.ask(&news).await?;
        let mut tx = self.pool.begin().await?;
        let standing = hold(&mut tx, &news, &asked).await?;
        let new = outbox::inbox_filter(&mut tx, &ids(batch)).await?;
        let free = if take == Take::All { None } else { Some(free(&mut tx, &news).await?) };
        self.apply(&mut tx, batch, news, &Ground { asked, standing, free }, new).await?;
        tx.commit().await?;
        metrics::counter!("order_worker_events_total").increment(batch.len() as u64);
        Ok(())
    }

    /// Books what the remaining units cover, and defers the rest until its units come.
    async fn handle_what_fits(&self, batch: &[Delivery]) -> Result<(), HandleError> {
        for _ in 1..FITTINGS {
            match self.handle_together(batch, Take::WhatFits).await {
                // Somebody else has taken units that were there a moment ago.
                Err(HandleError::Retry(error)) if is_shortage(&error) => {}
                handled => return handled,
            }
        }
        self.handle_together(batch, Take::WhatFits).await
    }

    /// Handles the events one by one, up to the first that PostgreSQL refuses: that one is poison. The ones
    /// before it are committed, and the inbox recognizes them when they come again.
    async fn handle_apart(&self, batch: &[Delivery]) -> Result<(), HandleError> {
        for (index, delivery) in batch.iter().enumerate() {
            match self.handle_what_fits(std::slice::from_ref(delivery)).await {
                Err(HandleError::Retry(error)) if is_violation(&error) && !is_shortage(&error) => {
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
}
