//! Conditional writes, and what becomes of one whose answer never came.
//!
//! A time-out of a lightweight transaction says nothing: it may have happened, may still happen, or may never
//! happen. Reading the row (even with SERIAL) cannot settle that, because a coordinator may only be about to
//! begin. Sending the same write again does settle it. Either it happens now, and the earlier one finds its
//! condition broken; or it is refused by a row that we can look at. So every conditional write here can be
//! repeated without harm: its condition names what it replaces.

use std::time::Duration;

use rand::RngExt;
use scylla::errors::ExecutionError;
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::response::query_result::QueryResult;
use scylla::serialize::batch::BatchValues;
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::unprepared::Statement;
use scylla::value::{CqlValue, Row};
use tokio::time::Instant;

use super::cluster::Cluster;
use crate::store::error::is_refused_statement;
use crate::store::{Result, StoreError};

/// How long we keep sending a write before we tell the caller that its outcome is unknown.
const PERSISTENCE: Duration = Duration::from_secs(7);
/// Pause before a repetition, in milliseconds. It is random, so that contenders drift apart.
const PAUSE_MS: std::ops::Range<u64> = 20..120;

/// What a conditional write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Applied,
    /// The condition does not hold.
    Refused,
    /// The condition does not hold, perhaps because an attempt before this one was applied.
    RefusedAfterDoubt,
}

impl Verdict {
    pub(super) fn is_applied(self) -> bool {
        self == Self::Applied
    }
}

impl Cluster {
    pub(super) async fn conditionally(&self, query: &str, values: impl SerializeRow) -> Result<Verdict> {
        let mut statement = Statement::new(query);
        statement.set_retry_policy(Some(std::sync::Arc::new(FallthroughRetryPolicy)));
        until_decided(|| self.session.execute_unpaged(statement.clone(), &values)).await
    }

    /// Several conditional writes to one partition of one table: all or none.
    pub(super) async fn all_conditionally(
        &self,
        queries: &[&str],
        values: impl BatchValues,
    ) -> Result<Verdict> {
        let mut batch = Batch::new(BatchType::Logged);
        for query in queries {
            batch.append_statement(*query);
        }
        batch.set_retry_policy(Some(std::sync::Arc::new(FallthroughRetryPolicy)));
        until_decided(|| self.session.batch(&batch, &values)).await
    }
}

async fn until_decided<F>(mut send: impl FnMut() -> F) -> Result<Verdict>
where
    F: Future<Output = Result<QueryResult, ExecutionError>>,
{
    let deadline = Instant::now() + PERSISTENCE;
    let mut in_doubt = false;
    loop {
        match send().await {
            Ok(result) => {
                return Ok(match (is_applied(result)?, in_doubt) {
                    (true, _) => Verdict::Applied,
                    (false, true) => Verdict::RefusedAfterDoubt,
                    (false, false) => Verdict::Refused,
                });
            }
            Err(error) if is_refused_statement(&error) => return Err(error.into()),
            Err(error) => {
                in_doubt = true;
                metrics::counter!("catalog_cassandra_unknown_outcomes_total").increment(1);
                if Instant::now() >= deadline {
                    return Err(StoreError::OutcomeUnknown(error.into()));
                }
            }
        }
        let pause = rand::rng().random_range(PAUSE_MS);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// The first column of every answer is `[applied]`; what follows depends on the outcome.
fn is_applied(result: QueryResult) -> Result<bool> {
    let rows = result.into_rows_result().map_err(StoreError::unreadable)?;
    let first: Row = rows.first_row().map_err(StoreError::unreadable)?;
    match first.columns.first() {
        Some(Some(CqlValue::Boolean(applied))) => Ok(*applied),
        _ => {
            Err(StoreError::unreadable(anyhow::anyhow!("a conditional write was answered without [applied]")))
        }
    }
}
