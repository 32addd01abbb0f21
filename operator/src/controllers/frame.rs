//! What every reconcile is wrapped in, and what wakes it.
//!
//! An object that cannot be read is reported and left alone ([`unreadable`]), so it never stops the watch
//! for the others. The frame measures time and failures. It retries a failed object after a pause that
//! grows with each failure in a row.
//!
//! What people declare wakes a controller; a status does not. The controller writes the status itself, so
//! each look that wrote something would trigger another.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{Stream, TryStreamExt};
use kube::{
    Api, Resource,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::{
        Predicate, PredicateConfig, WatchStreamExt,
        controller::Action,
        predicates,
        reflector::{self, ObjectRef, Store},
        utils::Backoff,
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::unreadable;
use crate::{Context, telemetry};

const WATCH_PAUSE: Duration = Duration::from_millis(500);

/// An object as the watch delivers it.
pub(super) type Guarded<K> = DeserializeGuard<K>;

/// An error whose kind serves as a metric label.
pub(super) trait Kind: std::error::Error {
    fn kind(&self) -> &'static str;
}

/// The frame of one controller.
pub(super) struct Frame<K: Resource<DynamicType = ()>> {
    /// The name for metrics.
    controller: &'static str,
    /// Failures in a row, by object.
    failures: Mutex<HashMap<ObjectRef<Guarded<K>>, u32>>,
}

impl<K> Frame<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    pub(super) fn new(controller: &'static str) -> Self {
        Self { controller, failures: Mutex::default() }
    }

    /// Runs one reconcile of an object if it can be read.
    pub(super) async fn run<E>(
        &self,
        object: &Guarded<K>,
        context: &Context,
        reconcile: impl AsyncFnOnce(&K) -> Result<Action, E>,
    ) -> Result<Action, E> {
        let started = Instant::now();
        let outcome = match &object.0 {
            // Boxed: a reconcile holds a lot, and there is one per object.
            Ok(valid) => Box::pin(reconcile(valid)).await,
            Err(invalid) => Ok(unreadable::tell::<K>(invalid, context).await),
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

/// All objects of a kind, and a stream of those that the controller has to look at. An object is in the
/// stream when its spec or an annotation changed, when it is being deleted, or when it has become readable
/// again.
///
/// `gone` hears of each object that is gone.
pub(super) fn watch<K>(
    api: Api<Guarded<K>>,
    gone: impl Fn(&ObjectRef<Guarded<K>>) + Send + 'static,
) -> (Store<Guarded<K>>, impl Stream<Item = watcher::Result<Guarded<K>>> + Send + 'static)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let mut known = Known::default();
    let declared = predicates::generation
        .combine(predicates::annotations)
        .combine(is_being_deleted)
        .combine(can_be_read);
    let touched = watcher(api, watcher::Config::default())
        .inspect_ok(move |event| known.follow(event).iter().for_each(&gone))
        .reflect(writer)
        .applied_objects()
        .predicate_filter(declared, PredicateConfig::default());
    (store, touched)
}

#[expect(clippy::unnecessary_wraps, reason = "kube's predicates answer an Option")]
fn is_being_deleted<K: Resource>(object: &K) -> Option<u64> {
    Some(u64::from(object.meta().deletion_timestamp.is_some()))
}

#[expect(clippy::unnecessary_wraps, reason = "kube's predicates answer an Option")]
fn can_be_read<K>(object: &Guarded<K>) -> Option<u64> {
    Some(u64::from(object.0.is_ok()))
}

/// Which objects exist, according to their watch.
struct Known<K: Resource<DynamicType = ()>> {
    now: HashSet<ObjectRef<K>>,
    /// The objects of a list that is not complete yet.
    listed: HashSet<ObjectRef<K>>,
}

impl<K: Resource<DynamicType = ()>> Default for Known<K> {
    fn default() -> Self {
        Self { now: HashSet::new(), listed: HashSet::new() }
    }
}

impl<K: Resource<DynamicType = ()>> Known<K> {
    /// The objects that are gone with this event.
    fn follow(&mut self, event: &watcher::Event<K>) -> Vec<ObjectRef<K>> {
        match event {
            watcher::Event::Apply(object) => _ = self.now.insert(ObjectRef::from_obj(object)),
            watcher::Event::Delete(object) => {
                let object = ObjectRef::from_obj(object);
                self.now.remove(&object);
                return vec![object];
            }
            watcher::Event::Init => self.listed.clear(),
            watcher::Event::InitApply(object) => _ = self.listed.insert(ObjectRef::from_obj(object)),
            watcher::Event::InitDone => {
                let before = std::mem::replace(&mut self.now, std::mem::take(&mut self.listed));
                return before.into_iter().filter(|object| !self.now.contains(object)).collect();
            }
        }
        Vec::new()
    }
}

/// Ends when `stop` comes before the watched objects were listed, and never otherwise.
///
/// No reconcile runs before that. But kube's graceful shutdown waits for the list, which nobody needs any
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

/// The pauses after a failed watch.
///
/// kube counts the failures of all of a controller's watches together. When an API server restarts, each of
/// them fails once. kube's own pauses double up to half a minute, so a controller of ten kinds would hear
/// nothing for minutes.
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

/// The pause before retrying an object that failed `attempts` times in a row: 1, 2, 4 … 60 seconds, each
/// with up to a quarter more, so that many objects do not come back at the same moment.
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
