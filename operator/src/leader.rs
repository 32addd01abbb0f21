//! Leader election over a Lease, and the fencing token that comes with it.
//!
//! Every write of the Lease carries the resource version that was read, so two replicas can never both
//! believe that they took it over. A replica decides that another's lease has run out by how long it has
//! itself seen no change, never by comparing clocks. A leader that cannot renew in time gives up *before*
//! others may take over. A leader that was frozen meanwhile may still send a request it had prepared. That
//! is why commands that move stock carry a [`Fence`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How many generations of one object a single term of leadership can tell apart.
const GENERATIONS_PER_TERM: i64 = 1_000_000;

/// The current term of leadership, as a number that never decreases over the life of the cluster.
///
/// It counts the transitions of the Lease. A deleted Lease starts again at the minutes since 1970, which is
/// more than any number of transitions it has had.
#[derive(Clone, Debug, Default)]
pub struct Fence {
    term: Arc<AtomicI64>,
}

impl Fence {
    /// A fence of a fixed term, for tests and tools that need no election.
    pub fn of_term(term: i64) -> Self {
        let fence = Self::default();
        fence.term.store(term, Ordering::Relaxed);
        fence
    }

    /// The token for commands made from this generation of an object's spec. It grows with the generation
    /// within a term, and with every term. It fits a double exactly (Redis' Lua counts in doubles).
    pub fn token(&self, generation: i64) -> i64 {
        self.term.load(Ordering::Relaxed) * GENERATIONS_PER_TERM
            + generation.clamp(0, GENERATIONS_PER_TERM - 1)
    }
}

/// Which Lease to compete for, and as whom.
#[derive(Clone, Debug)]
pub struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
    duration: Duration,
}

/// The Lease could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ElectionError {
    #[error("reading the Lease {lease}: {source}")]
    Read { lease: String, source: kube::Error },
    #[error("writing the Lease {lease}: {source}")]
    Write { lease: String, source: kube::Error },
}

impl Election {
    /// `duration` is how long a leader may be silent before another replaces it.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str, duration: Duration) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            duration,
        }
    }

    /// Waits until this replica leads. Calls `seen` once the state of the Lease is known.
    pub async fn lead(&self, seen: impl Fn()) -> Leadership {
        let mut rival = Rival::default();
        loop {
            let asked = Instant::now();
            match self.try_acquire(&mut rival).await {
                Ok(Some(lease)) => {
                    seen();
                    let term = transitions(&lease);
                    tracing::info!(lease = self.name, identity = self.identity, term, "leading");
                    return Leadership { election: self.clone(), lease, renewed: asked };
                }
                Ok(None) => seen(),
                Err(error) => tracing::warn!(%error, "cannot compete for the lease"),
            }
            tokio::time::sleep(self.retry_period()).await;
        }
    }

    /// Creates the Lease, or takes it over when it is free, is ours, or its holder has gone silent.
    async fn try_acquire(&self, rival: &mut Rival) -> Result<Option<Lease>, ElectionError> {
        let now = MicroTime(Timestamp::now());
        let Some(mut lease) = self.read().await? else {
            let epoch = i32::try_from(now.0.as_second() / 60).unwrap_or(i32::MAX / 2);
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.held_since(now, epoch)),
            };
            return self.written(self.api.create(&PostParams::default(), &lease).await);
        };
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        let silent = rival.silent_for(&lease) >= self.duration_of(&lease);
        if !holder.is_empty() && holder != self.identity && !silent {
            return Ok(None);
        }
        let term = transitions(&lease).saturating_add(1);
        lease.spec = Some(self.held_since(now, term));
        self.written(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    fn held_since(&self, now: MicroTime, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    async fn read(&self) -> Result<Option<Lease>, ElectionError> {
        self.api
            .get_opt(&self.name)
            .await
            .map_err(|source| ElectionError::Read { lease: self.name.clone(), source })
    }

    /// Losing the write to another replica is not an error: that replica leads.
    fn written(&self, result: kube::Result<Lease>) -> Result<Option<Lease>, ElectionError> {
        match result {
            Ok(lease) => Ok(Some(lease)),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(source) => Err(ElectionError::Write { lease: self.name.clone(), source }),
        }
    }

    fn duration_of(&self, lease: &Lease) -> Duration {
        let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        seconds.and_then(|s| u64::try_from(s).ok()).map_or(self.duration, Duration::from_secs)
    }

    fn retry_period(&self) -> Duration {
        self.duration / 8
    }

    /// A leader that could not renew for this long stops, well before others may take over.
    fn renew_deadline(&self) -> Duration {
        self.duration * 2 / 3
    }
}

/// What we last saw of another replica's Lease, and since when it has not changed.
#[derive(Default)]
struct Rival {
    seen: Option<(Option<String>, Instant)>,
}

impl Rival {
    fn silent_for(&mut self, lease: &Lease) -> Duration {
        let version = lease.metadata.resource_version.clone();
        match &self.seen {
            Some((seen, since)) if *seen == version => since.elapsed(),
            _ => {
                self.seen = Some((version, Instant::now()));
                Duration::ZERO
            }
        }
    }
}

fn transitions(lease: &Lease) -> i32 {
    lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default()
}

/// The Lease is ours as long as [`Leadership::keep`] runs.
#[derive(Debug)]
pub struct Leadership {
    election: Election,
    lease: Lease,
    /// Taken before the request was sent: others count from when it was carried out.
    renewed: Instant,
}

impl Leadership {
    /// Puts the new term into the fence.
    pub fn raise(&self, fence: &Fence) {
        fence.term.fetch_max(i64::from(transitions(&self.lease)), Ordering::Relaxed);
    }

    /// Renews until `stop` and then gives the Lease back. Returns false when the Lease was lost instead.
    pub async fn keep(mut self, stop: CancellationToken) -> bool {
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    self.release().await;
                    return true;
                }
                () = tokio::time::sleep(self.election.retry_period()) => {}
            }
            let asked = Instant::now();
            let left = self.election.renew_deadline().saturating_sub(self.renewed.elapsed());
            match tokio::time::timeout(left, self.renew()).await {
                Ok(Ok(true)) => self.renewed = asked,
                Ok(Ok(false)) => return false,
                // Any answer that comes at once, even a refusal, leaves time to try again before the
                // deadline.
                Ok(Err(error)) if !left.is_zero() => tracing::warn!(%error, "cannot renew the lease"),
                Ok(Err(_)) | Err(_) => {
                    tracing::error!(lease = self.election.name, "the lease was not renewed in time");
                    return false;
                }
            }
        }
    }

    /// False when another replica holds the Lease.
    async fn renew(&mut self) -> Result<bool, ElectionError> {
        let mut lease = self.lease.clone();
        if let Some(spec) = &mut lease.spec {
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        if let Some(renewed) = self.write(&lease).await? {
            self.lease = renewed;
            return Ok(true);
        }
        // Somebody wrote the Lease. A note on its metadata changes nothing; another holder does.
        let Some(current) = self.election.read().await? else { return Ok(false) };
        let ours = current.spec.as_ref().is_some_and(|spec| {
            spec.holder_identity.as_deref() == Some(&self.election.identity)
                && spec.lease_transitions == self.lease.spec.as_ref().and_then(|s| s.lease_transitions)
        });
        if ours {
            self.lease = current;
        }
        Ok(ours)
    }

    async fn write(&self, lease: &Lease) -> Result<Option<Lease>, ElectionError> {
        let election = &self.election;
        election.written(election.api.replace(&election.name, &PostParams::default(), lease).await)
    }

    /// Lets another replica take over at once.
    async fn release(&self) {
        let mut lease = self.lease.clone();
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
        }
        match self.write(&lease).await {
            Ok(_) => tracing::info!(lease = self.election.name, "lease given back"),
            Err(error) => tracing::warn!(%error, "cannot give the lease back"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_grow_with_the_generation_and_with_every_term() {
        let old = Fence::of_term(29_700_000);
        let new = Fence::of_term(29_700_001);
        assert!(old.token(1) < old.token(2));
        assert!(old.token(2_000_000) < new.token(1));
    }

    #[test]
    fn a_token_is_exact_as_a_double() {
        let token = Fence::of_term(i64::from(i32::MAX)).token(999_999);
        assert!(token < 1 << 53, "{token}");
    }

    #[test]
    fn a_lease_that_changes_is_not_silent() {
        let mut lease = Lease::default();
        let mut rival = Rival::default();
        lease.metadata.resource_version = Some("1".into());
        assert_eq!(rival.silent_for(&lease), Duration::ZERO);
        std::thread::sleep(Duration::from_millis(5));
        assert!(rival.silent_for(&lease) >= Duration::from_millis(5));
        lease.metadata.resource_version = Some("2".into());
        assert_eq!(rival.silent_for(&lease), Duration::ZERO);
    }
}
