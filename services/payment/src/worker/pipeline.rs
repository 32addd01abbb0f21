//! The engine below charging and refunding: claim what is due, call the provider for many at once, record
//! what has finished.
//!
//! A slow call holds nobody up: free places are filled while it lasts, and whatever finished while the last
//! transaction was being written goes into the next one. Under load this gives large batches and few commits,
//! without any timer.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often to look for due work that nobody announces: retries, and what another replica's consumer
/// inserted.
const POLL: Duration = Duration::from_millis(100);
/// The pause after PostgreSQL failed.
const RECOVERY: Duration = Duration::from_secs(1);
/// How often to try to write a batch of results. After that they are lost, and the provider is asked again.
const WRITES: u32 = 5;

#[async_trait]
pub(super) trait Work: Send + Sync + 'static {
    const NAME: &'static str;
    type Item: Send + 'static;
    type Done: Send + 'static;

    /// Claims up to `limit` due items for this process alone, for a while.
    async fn claim(&self, limit: usize) -> sqlx::Result<Vec<Self::Item>>;

    /// Calls the provider. Ends before the claim runs out.
    async fn perform(&self, item: Self::Item) -> Self::Done;

    /// Writes results in one transaction. Items that it claimed on the way are performed next.
    async fn record(&self, done: &[Self::Done]) -> sqlx::Result<Vec<Self::Item>>;
}

/// Works with up to `concurrency` open calls until `stop`, then finishes those.
pub(super) async fn run<W: Work>(
    work: Arc<W>,
    concurrency: usize,
    due: Arc<Notify>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut calls: JoinSet<W::Done> = JoinSet::new();
    // Claiming a few at a time would turn every finished call into a transaction of its own.
    let worth_claiming = concurrency.div_ceil(4);
    let mut next_claim = Instant::now();
    loop {
        let stopping = stop.is_cancelled();
        if stopping && calls.is_empty() {
            return Ok(());
        }
        let free = concurrency - calls.len();
        if free >= worth_claiming && Instant::now() >= next_claim && !stopping {
            next_claim = match work.claim(free).await {
                Ok(items) => {
                    let all_taken = items.len() < free;
                    for item in items {
                        let work = work.clone();
                        calls.spawn(async move { work.perform(item).await });
                    }
                    if all_taken { Instant::now() + POLL } else { Instant::now() }
                }
                Err(error) => {
                    tracing::warn!(work = W::NAME, %error, "due work could not be read");
                    Instant::now() + RECOVERY
                }
            };
            metrics::gauge!("payment_calls_in_flight", "work" => W::NAME).set(gauge(calls.len()));
        }

        let may_claim = concurrency - calls.len() >= worth_claiming && !stopping;
        let finished = tokio::select! {
            Some(finished) = calls.join_next() => finished,
            () = due.notified(), if may_claim => { next_claim = Instant::now(); continue }
            () = tokio::time::sleep_until(next_claim), if may_claim => continue,
            () = stop.cancelled(), if !stopping => continue,
        };
        let mut done = Vec::new();
        keep_result::<W>(finished, &mut done);
        while let Some(finished) = calls.try_join_next() {
            keep_result::<W>(finished, &mut done);
        }
        for item in record(&*work, &done).await {
            let work = work.clone();
            calls.spawn(async move { work.perform(item).await });
        }
    }
}

fn keep_result<W: Work>(finished: Result<W::Done, tokio::task::JoinError>, done: &mut Vec<W::Done>) {
    match finished {
        Ok(result) => done.push(result),
        Err(error) => tracing::error!(work = W::NAME, %error, "a call ended without a result"),
    }
}

/// Results that cannot be written are given up in the end. Their lease runs out, and asking the provider
/// again under the same key returns the same.
async fn record<W: Work>(work: &W, done: &[W::Done]) -> Vec<W::Item> {
    for attempt in 1..=WRITES {
        match work.record(done).await {
            Ok(next) => return next,
            Err(error) => tracing::warn!(work = W::NAME, attempt, %error, "results could not be written"),
        }
        tokio::time::sleep(RECOVERY).await;
    }
    Vec::new()
}

#[expect(clippy::cast_precision_loss, reason = "a number of calls is far below 2^52")]
fn gauge(count: usize) -> f64 {
    count as f64
}
