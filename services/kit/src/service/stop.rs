//! When a process stops, and how it waits for what it is still doing.

use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A token cancelled by SIGTERM or SIGINT.
pub(super) fn on_signal() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancel.cancel();
    });
    Ok(stop)
}

/// A task's first error. Pending while all are well, even if all have ended well.
pub(super) async fn first_failure(tasks: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended.context("a task panicked")??;
    }
    std::future::pending().await
}

/// Waits until all have ended. An error names those that did not end in time.
pub(super) async fn all_ended(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    limit: Duration,
    what: &str,
) -> anyhow::Result<()> {
    let wait = async {
        while let Some(ended) = tasks.join_next().await {
            ended.context("a task panicked")??;
        }
        Ok(())
    };
    if let Ok(ended) = tokio::time::timeout(limit, wait).await {
        ended
    } else {
        tasks.abort_all();
        anyhow::bail!("{what} did not finish within {} s", limit.as_secs())
    }
}
