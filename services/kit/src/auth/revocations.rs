//! Sessions that ended while their access tokens were still valid.
//!
//! ```text
//! member: a session ends ──▶ GET /internal/v1/revocations?after= ──▶ [Revocations] of every process
//! ```
//!
//! A token is verified without asking anybody, so it would outlive a log-out by minutes. That is why every
//! process asks about once a second which sessions have ended, and remembers each for as long as one of its
//! tokens could still be valid. While nobody answers, the process goes on with what it knows: a member
//! service that is down ends no sessions.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use super::published::Published;
use crate::client::CallError;

/// How often a process asks for the list, give or take a quarter, so that processes that started together
/// drift apart.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// One line in the log for this many failures in a row: one a minute.
const FAILURES_TOLD: u32 = 60;

/// A page of the member service's list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevocationPage {
    pub revoked: Vec<Revoked>,
    /// Where to go on. What ended before this is not sent again, or at most once more for a moment.
    pub cursor: String,
    /// The next page is ready already.
    pub has_more: bool,
}

/// A session that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    pub sid: Uuid,
    /// The last moment at which one of its tokens could be valid, Unix seconds.
    pub until: i64,
}

/// The sessions that are known to have ended.
pub(super) struct Revocations {
    ended: ArcSwap<HashMap<Uuid, i64>>,
    source: Option<Published>,
    /// The process has asked for the list at least once, whatever came back.
    asked: AtomicBool,
}

impl Revocations {
    pub(super) fn none() -> Self {
        Self { ended: ArcSwap::default(), source: None, asked: AtomicBool::new(true) }
    }

    pub(super) fn from_url(url: Url) -> anyhow::Result<Self> {
        let source = Some(Published::at(url)?);
        Ok(Self { ended: ArcSwap::default(), source, asked: AtomicBool::new(false) })
    }

    pub(super) fn has_ended(&self, session: Uuid) -> bool {
        self.ended.load().contains_key(&session)
    }

    /// Whether a process that has just started may let anybody in. It has to have asked; it need not have got
    /// an answer.
    pub(super) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Keeps the list fresh until `stop`.
    pub(super) async fn follow(&self, stop: CancellationToken) {
        let Some(source) = &self.source else { return };
        let mut cursor = None;
        let mut failures: u32 = 0;
        loop {
            match self.catch_up(source, &mut cursor).await {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!(url = %source.url, "the list of ended sessions is there again");
                    }
                    failures = 0;
                }
                Err(error) => {
                    if failures.is_multiple_of(FAILURES_TOLD) {
                        let error = format!("{error:#}");
                        tracing::warn!(url = %source.url, error, "cannot ask which sessions have ended");
                    }
                    failures = failures.saturating_add(1);
                }
            }
            self.asked.store(true, Ordering::Relaxed);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(ASK_EVERY.mul_f64(rand::random_range(0.75..1.25))) => {}
            }
        }
    }

    /// Reads what has ended since `cursor`, to the end of the list.
    async fn catch_up(&self, source: &Published, cursor: &mut Option<String>) -> anyhow::Result<()> {
        loop {
            let after = cursor.as_deref().map(|cursor| ("after", cursor));
            let page: RevocationPage = match source.get(after).await {
                // Whoever answers now does not know the cursor, so start from the beginning.
                Err(error @ CallError::Status { status: StatusCode::BAD_REQUEST, .. }) => {
                    *cursor = None;
                    return Err(error.into());
                }
                page => page?,
            };
            self.add(&page.revoked);
            *cursor = Some(page.cursor);
            if !page.has_more {
                return Ok(());
            }
        }
    }

    /// Adds sessions, and forgets those whose last token has expired.
    fn add(&self, revoked: &[Revoked]) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let believed = |until: i64| u64::try_from(until).unwrap_or_default() >= now;
        let known = self.ended.load();
        let news = revoked.iter().any(|session| !known.contains_key(&session.sid));
        if !news && known.values().all(|until| believed(*until)) {
            return;
        }
        let kept = known.iter().map(|(sid, until)| (*sid, *until));
        let new = revoked.iter().map(|session| (session.sid, session.until));
        let ended: HashMap<_, _> = kept.chain(new).filter(|(_, until)| believed(*until)).collect();
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; nobody counts 2^53 sessions")]
        metrics::gauge!("auth_ended_sessions").set(ended.len() as f64);
        self.ended.store(Arc::new(ended));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_kept_until_its_last_token_has_expired_m1() {
        let revocations = Revocations::none();
        let [over, ended] = [Uuid::new_v4(), Uuid::new_v4()];
        revocations.add(&[Revoked { sid: over, until: 0 }, Revoked { sid: ended, until: i64::MAX }]);
        revocations.add(&[]);
        assert!(revocations.has_ended(ended) && !revocations.has_ended(over));
    }
}
