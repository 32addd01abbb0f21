//! Once a day: is every charge in the provider's list one of our payments, and the other way round? And is
//! money still set aside for a payment that has ended? It also takes over what the provider gave back on its
//! own.
//!
//! Any replica may do it; an advisory lock lets only one do it at a time. The recorded window of the last run
//! says whether a run is due and where it starts. Differences go into a table and a metric.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::ReconciliationArgs;
use crate::provider::{PaymentProvider, Window};
use crate::store::reconciliation::{self as store, Finding};

/// How often a replica checks whether a run is due; shorter if runs are more frequent.
const LOOK: Duration = Duration::from_mins(1);

pub(super) struct Reconciliation {
    pool: PgPool,
    provider: Arc<dyn PaymentProvider>,
    interval: Duration,
    settling: Duration,
}

impl Reconciliation {
    pub(super) fn new(pool: PgPool, provider: Arc<dyn PaymentProvider>, args: &ReconciliationArgs) -> Self {
        Self {
            pool,
            provider,
            interval: Duration::from_secs(args.reconciliation_seconds.into()),
            settling: Duration::from_secs(args.reconciliation_settling_seconds.into()),
        }
    }

    /// Reconciles when due, until `stop`. A failed run is tried again at the next check.
    pub(super) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let look = self.interval.min(LOOK);
        while stop.run_until_cancelled(tokio::time::sleep(look)).await.is_some() {
            let Some(outcome) = stop.run_until_cancelled(self.reconcile_if_due()).await else { break };
            if let Err(error) = outcome {
                metrics::counter!("payment_reconciliation_failures_total").increment(1);
                tracing::warn!(error = format!("{error:#}"), "reconciliation did not finish");
            }
        }
        Ok(())
    }

    async fn reconcile_if_due(&self) -> anyhow::Result<()> {
        let mut tx = self.pool.begin().await?;
        if !store::try_lock(&mut tx).await? {
            return Ok(());
        }
        let (last, now) = store::last_until(&mut tx).await?;
        let since = last.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let until = now - self.settling;
        if until < since + self.interval {
            return Ok(());
        }
        store::prepare(&mut tx).await?;
        self.copy_lists(&mut tx, Window { since, until }).await?;
        store::take_over_refunds(&mut tx).await?;
        let (charges, findings) = store::compare(&mut tx, since, until).await?;
        tx.commit().await?;
        report(charges, since, until, &findings);
        Ok(())
    }

    async fn copy_lists(&self, connection: &mut PgConnection, window: Window) -> anyhow::Result<()> {
        let mut cursor = None;
        loop {
            let page = self.provider.charges(window, cursor.as_deref()).await;
            let page = page.context("reading the provider's list of charges")?;
            store::copy_charges(connection, &page.data).await?;
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        loop {
            let page = self.provider.authorizations(window, cursor.as_deref()).await;
            let page = page.context("reading the provider's list of authorizations")?;
            store::copy_authorizations(connection, &page.data).await?;
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }
}

fn report(charges: i64, since: OffsetDateTime, until: OffsetDateTime, findings: &[Finding]) {
    metrics::counter!("payment_reconciliations_total").increment(1);
    for finding in findings {
        let count = finding.count.unsigned_abs();
        metrics::counter!("payment_reconciliation_differences_total", "kind" => finding.kind.clone())
            .increment(count);
        tracing::error!(kind = finding.kind, count, "the provider's list differs from the payments");
    }
    tracing::info!(charges, %since, %until, kinds_of_differences = findings.len(), "reconciled");
}
