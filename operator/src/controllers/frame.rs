//! What every reconcile is wrapped in.
//!
//! An object that does not fit its schema is named in an Event and left alone, so that it never stops
//! the watch of the others. Time and failures are measured; an object that failed is tried again after
//! a pause that grows with each failure in a row.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use kube::{
    Resource,
    core::DeserializeGuard,
    runtime::{
        controller::Action,
        events::EventType,
        reflector::{ObjectRef, Store},
        utils::Backoff,
    },
};
use tokio_util::sync::CancellationToken;

use crate::{Context, telemetry};

const WATCH_PAUSE: Duration = Duration::from_millis(500);

/// An object as it comes from the watch.
pub(super) type Guarded<K> = DeserializeGuard<K>;

/// An error whose kind is worth a label of a metric.
pub(super) trait Kind: std::error::Error {
    fn kind(&self) -> &'static str;
}

/// The frame of one controller.
pub(super) struct Frame<K: Resource<DynamicType = ()>> {
    /// For metrics.
    controller: &'static str,
    /// Failures in a row, by object.
    failures: Mutex<HashMap<ObjectRef<Guarded<K>>, u32>>,
}

impl<K: Resource<DynamicType = ()> + Clone + Debug> Frame<K> {
    pub(super) fn new(controller: &'static str) -> Self {
        Self { controller, failures: Mutex::default() }
    }

    /// Runs one reconcile of a well-formed object.
    pub(super) async fn run<E>(
        &self,
        object: &Guarded<K>,
        context: &Context,
        reconcile: impl AsyncFnOnce(&K) -> Result<Action, E>,
    ) -> Result<Action, E> {
        let started = Instant::now();
        let outcome = match &object.0 {
            // Boxed: what a reconcile holds is large, and there is one per object.
            Ok(valid) => Box::pin(reconcile(valid)).await,
            Err(invalid) => {
                let kind = K::kind(&());
                tracing::error!(error = invalid.error, "a {kind} that does not fit its schema is left alone");
                let note = format!("the {kind} does not fit its schema: {}", invalid.error);
                context.tell(&object.object_ref(&()), EventType::Warning, "Malformed", note).await;
                Ok(Action::await_change())
            }
        };
        metrics::histogram!(telemetry::RECONCILE_SECONDS, "controller" => self.controller)
            .record(started.elapsed().as_secs_f64());
        if outcome.is_ok() {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.remove(&ObjectRef::from_obj(object));
        }
        outcome
    }

    /// Notes a failure and says when to try again.
    pub(super) fn failed(&self, object: &Guarded<K>, error: &impl Kind) -> Action {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(ObjectRef::from_obj(object)).or_default();
        let delay = retry_delay(*count);
        *count += 1;
        metrics::counter!(telemetry::RECONCILE_ERRORS, "controller" => self.controller, "error" => error.kind())
            .increment(1);
        tracing::warn!(%error, attempt = *count, retry_in_ms = delay.as_millis(), "reconcile failed");
        Action::requeue(delay)
    }
}

/// Ends when `stop` comes before the watched objects were listed, and never otherwise.
///
/// No reconcile runs before that; but kube's graceful shutdown waits for the list, which nobody asks for any
/// more.
pub(super) async fn stopped_too_early<K>(listed: Store<Guarded<K>>, stop: CancellationToken)
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    tokio::select! {
        biased;
        _ = listed.wait_until_ready() => std::future::pending().await,
        () = stop.cancelled() => {}
    }
}

/// Pauses after a watch has failed.
///
/// kube counts the failures of all watches of a controller together. When an API server restarts each of them
/// fails once, and with kube's own pauses, which double up to half a minute, a controller of ten kinds would
/// hear of nothing for minutes.
pub(super) struct WatchBackoff;

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(WATCH_PAUSE + WATCH_PAUSE.mul_f64(rand::random::<f64>() / 4.0))
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {}
}

/// Pause before an object that failed `attempts` times in a row is tried again: 1, 2, 4 … 60 seconds,
/// each with up to a quarter more, so that many objects do not come back at the same moment.
pub(super) fn retry_delay(attempts: u32) -> Duration {
    let base = Duration::from_secs(1 << attempts.min(6)).min(Duration::from_mins(1));
    base + base.mul_f64(rand::random::<f64>() / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_between_tries_grows_and_is_bounded() {
        assert!(retry_delay(0) < Duration::from_secs(2));
        assert!(retry_delay(3) >= Duration::from_secs(8));
        assert!(retry_delay(40) <= Duration::from_secs(75));
    }
}
