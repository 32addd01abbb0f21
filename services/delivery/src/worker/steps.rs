//! The timed part: asks about shipments and returns that are due, and lets them take their next step.
//!
//! One transaction locks a batch, asks about it and records the answers, so several workers never take the
//! same step twice. After a downtime the overdue ones are simply due. The simulated carrier answers at once;
//! a carrier across a network would need a lease instead of the lock.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::carrier::Carrier;
use crate::store::parcels;

const BATCH: i64 = 1_000;
/// How often to look for due parcels when there were none.
const POLL: Duration = Duration::from_millis(200);
/// The pause after PostgreSQL or the carrier failed, and before asking again about a parcel that did not
/// move.
const RETRY: Duration = Duration::from_secs(2);

pub(super) struct Steps {
    pool: PgPool,
    carrier: Arc<dyn Carrier>,
}

impl Steps {
    pub(super) fn new(pool: PgPool, carrier: Arc<dyn Carrier>) -> Self {
        Self { pool, carrier }
    }

    pub(super) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        while !stop.is_cancelled() {
            let pause = match self.advance_batch().await {
                Ok(looked_at) if looked_at == usize::try_from(BATCH)? => continue,
                Ok(_) => POLL,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "parcels could not be moved");
                    RETRY
                }
            };
            stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
        Ok(())
    }

    /// Asks about a batch of shipments and a batch of returns; returns the size of the larger one.
    async fn advance_batch(&self) -> anyhow::Result<usize> {
        Ok(self.advance_shipments().await?.max(self.advance_returns().await?))
    }

    async fn advance_shipments(&self) -> anyhow::Result<usize> {
        let mut tx = self.pool.begin().await?;
        let due = parcels::due(&mut tx, BATCH).await?;
        if due.is_empty() {
            return Ok(0);
        }
        let tracked = self.carrier.track(&due).await?;
        let moved = parcels::record(&mut tx, &due, &tracked, RETRY).await?;
        tx.commit().await?;
        metrics::counter!("delivery_steps_total").increment(moved as u64);
        Ok(due.len())
    }

    async fn advance_returns(&self) -> anyhow::Result<usize> {
        let mut tx = self.pool.begin().await?;
        let due = parcels::due(&mut tx, BATCH).await?;
        if due.is_empty() {
            return Ok(0);
        }
        let tracked = self.carrier.track_returns(&due).await?;
        let moved = parcels::record(&mut tx, &due, &tracked, RETRY).await?;
        tx.commit().await?;
        metrics::counter!("delivery_return_steps_total").increment(moved as u64);
        Ok(due.len())
    }
}
