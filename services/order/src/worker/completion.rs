//! Time passes: an order that was delivered and not returned in time is completed.
//!
//! We look up what is due in SQL and change it in the same transaction, so nothing is lost while no worker
//! runs: the first look afterwards finds all of it. Any number of replicas share the work; each skips rows
//! that another has locked.

use std::time::Duration;

use rocketmart_kit::pace::{Next, Pace};
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::domain::batch::Batch;
use crate::store::{self, orders};

/// How late we may notice the end of the time to return.
const PERIOD: Duration = Duration::from_secs(5);
/// How many orders to complete in one transaction.
const AT_ONCE: i64 = 500;
const CAUSE: &str = "return-window-over";

pub(super) async fn run(pool: PgPool, window: time::Duration, stop: CancellationToken) -> anyhow::Result<()> {
    let mut pace = Pace::every(PERIOD, "cannot complete delivered orders");
    // A full batch means that there may be more.
    let more = |completed: usize| Next::more(i64::try_from(completed) == Ok(AT_ONCE));
    while pace.rest(complete(&pool, window).await.map(more), &stop).await {}
    Ok(())
}

/// Completes what is due, and returns how many orders that was.
async fn complete(pool: &PgPool, window: time::Duration) -> anyhow::Result<usize> {
    let mut tx = pool.begin().await?;
    let due = orders::lock_delivered_before(&mut tx, OffsetDateTime::now_utc() - window, AT_ONCE).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let ids: Vec<_> = due.iter().map(|order| order.id).collect();
    let mut batch = Batch::new(due);
    for id in &ids {
        batch.decide(*id, crate::domain::order::Order::complete).transpose()?;
    }
    store::write(&mut tx, &batch.finish(), &[], |_| CAUSE.to_owned()).await?;
    tx.commit().await?;
    metrics::counter!("order_completed_total").increment(ids.len() as u64);
    Ok(ids.len())
}
