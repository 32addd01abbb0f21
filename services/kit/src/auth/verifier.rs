//! Verifies access tokens, and remembers the ones it has verified.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use arc_swap::ArcSwap;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use moka::policy::EvictionPolicy;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Claims;
use super::keys::Keys;
use super::published::Published;
use super::revocations::Revocations;
use crate::config::AuthConfig;
use crate::startup::uneven;

/// How many tokens are remembered at most, about 400 bytes each.
const REMEMBERED_TOKENS: u64 = 100_000;
/// How long a token is remembered at most, in use or not.
const REMEMBERED_FOR: Duration = Duration::from_mins(15);
/// How far the clocks of the signer and of this process may differ.
const LEEWAY_SECONDS: u64 = 5;
/// How often the keys are fetched again.
const REFRESH_INTERVAL: Duration = Duration::from_mins(5);
/// And after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// A token with an unknown key makes us fetch the keys early, but no more often than this.
const EARLY_REFRESH_INTERVAL: Duration = Duration::from_secs(5);

/// Why a token was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Not a token of ours: wrong form, algorithm, signature, issuer or audience.
    #[error("the access token is not valid")]
    Invalid,
    /// Was valid once.
    #[error("the access token has expired")]
    Expired,
    /// Its session has ended: a log-out, a new password, a deleted account.
    #[error("the session of the access token has ended; log in again")]
    SessionEnded,
    /// The signing keys could not be fetched, so we cannot say anything about the token.
    #[error("the signing keys are not available")]
    KeysUnavailable,
}

/// Verified tokens by their hash. Newcomers are always admitted, and the token unused for longest is evicted.
/// A policy that favours frequent tokens would, once full of them, evict every newcomer at once; a crowd that
/// arrives for the next sale would then have every single request verified from scratch.
type Remembered = moka::sync::Cache<[u8; 32], Arc<Claims>>;

fn remembered(capacity: u64) -> Remembered {
    moka::sync::Cache::builder()
        .max_capacity(capacity)
        .eviction_policy(EvictionPolicy::lru())
        .time_to_live(REMEMBERED_FOR)
        .build()
}

/// Verifies access tokens. Cheap to clone; all clones share keys and memory.
#[derive(Clone)]
pub struct Verifier {
    shared: Arc<Shared>,
}

struct Shared {
    validation: Validation,
    keys: ArcSwap<Keys>,
    verified: Remembered,
    source: Option<Source>,
    revocations: Revocations,
}

/// Where the keys come from, and when we last asked for them.
struct Source {
    keys: Published,
    last_fetch: Mutex<Option<Instant>>,
}

impl Verifier {
    /// Verifies with the keys published at `AUTH_JWKS_URL`, and refuses the sessions listed at
    /// `AUTH_REVOCATIONS_URL`. Run [`Self::refresh_loop`] beside it.
    pub fn from_jwks_url(config: &AuthConfig) -> anyhow::Result<Self> {
        let url = config.auth_jwks_url.clone().context("AUTH_JWKS_URL is not set")?;
        let keys = Published::at(url)?;
        let revocations = if let Some(url) = config.auth_revocations_url.clone() {
            Revocations::from_url(url)?
        } else {
            tracing::warn!("AUTH_REVOCATIONS_URL is not set: a token outlives its session until it expires");
            Revocations::none()
        };
        let source = Source { keys, last_fetch: Mutex::new(None) };
        Ok(Self::new(config, Keys::default(), Some(source), revocations))
    }

    /// Verifies with a fixed set of keys.
    pub fn from_jwks(config: &AuthConfig, jwks: &JwkSet) -> Self {
        Self::new(config, Keys::from_set(jwks), None, Revocations::none())
    }

    fn new(config: &AuthConfig, keys: Keys, source: Option<Source>, revocations: Revocations) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[&config.auth_issuer]);
        validation.set_audience(&[&config.auth_audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = LEEWAY_SECONDS;
        let verified = remembered(REMEMBERED_TOKENS);
        let keys = ArcSwap::from_pointee(keys);
        let shared = Shared { validation, keys, verified, source, revocations };
        Self { shared: Arc::new(shared) }
    }

    /// The claims of a token, if it is ours, has not expired, and its session has not ended.
    pub async fn verify(&self, token: &str) -> Result<Arc<Claims>, AuthError> {
        let claims = self.verify_token(token).await?;
        if self.shared.revocations.has_ended(claims.sid) { Err(AuthError::SessionEnded) } else { Ok(claims) }
    }

    async fn verify_token(&self, token: &str) -> Result<Arc<Claims>, AuthError> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        if let Some(claims) = self.shared.verified.get(&hash) {
            return if is_expired(&claims) { Err(AuthError::Expired) } else { Ok(claims) };
        }
        let claims = Arc::new(self.verify_signature(token).await?);
        self.shared.verified.insert(hash, Arc::clone(&claims));
        Ok(claims)
    }

    async fn verify_signature(&self, token: &str) -> Result<Claims, AuthError> {
        let header = decode_header(token).map_err(|_| AuthError::Invalid)?;
        // We check this before looking up a key. Otherwise `none` would get further, and so would a symmetric
        // algorithm, which would take the public key for a secret.
        if header.alg != Algorithm::EdDSA {
            return Err(AuthError::Invalid);
        }
        let id = header.kid.ok_or(AuthError::Invalid)?;
        let mut keys = self.shared.keys.load_full();
        if keys.get(&id).is_none() {
            self.refresh_early().await;
            keys = self.shared.keys.load_full();
        }
        if keys.is_empty() {
            return Err(AuthError::KeysUnavailable);
        }
        let key = keys.get(&id).ok_or(AuthError::Invalid)?;
        match decode::<Claims>(token, key, &self.shared.validation) {
            Ok(token) => Ok(token.claims),
            Err(error) if *error.kind() == ErrorKind::ExpiredSignature => Err(AuthError::Expired),
            Err(_) => Err(AuthError::Invalid),
        }
    }

    /// An error while there are no keys to verify with, or while we have not yet asked which sessions have
    /// ended.
    pub async fn ready(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.shared.keys.load().is_empty(), "no signing keys have been fetched yet");
        anyhow::ensure!(self.shared.revocations.asked(), "nobody was asked yet which sessions have ended");
        Ok(())
    }

    /// Keeps the keys and the list of ended sessions fresh until `stop`.
    pub async fn refresh_loop(self, stop: CancellationToken) -> anyhow::Result<()> {
        let revocations = self.shared.revocations.follow(stop.clone());
        let (keys, ()) = tokio::join!(self.refresh_keys(stop), revocations);
        keys
    }

    /// A failure keeps the keys we have and is retried about every second: a process that has no keys yet can
    /// do nothing without them.
    async fn refresh_keys(&self, stop: CancellationToken) -> anyhow::Result<()> {
        let Some(source) = &self.shared.source else { return Ok(()) };
        loop {
            let pause = match self.fetch(source).await {
                Ok(()) => REFRESH_INTERVAL,
                Err(error) => {
                    tracing::warn!(url = %source.keys.url, error = format!("{error:#}"), "cannot fetch the signing keys");
                    uneven(RETRY_INTERVAL)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Fetches the keys for a token whose key we do not know: the signer may have a new one. Anybody can make
    /// up unknown keys, so this happens at most once per interval.
    async fn refresh_early(&self) {
        let Some(source) = &self.shared.source else { return };
        {
            let mut last = source.last_fetch.lock().await;
            if last.is_some_and(|at| at.elapsed() < EARLY_REFRESH_INTERVAL) {
                return;
            }
            *last = Some(Instant::now());
            // We hold the lock while fetching, so that requests with the same new key wait for it.
            if let Err(error) = self.load(source).await {
                tracing::warn!(url = %source.keys.url, error = format!("{error:#}"), "cannot fetch the signing keys");
            }
        }
    }

    async fn fetch(&self, source: &Source) -> anyhow::Result<()> {
        let mut last = source.last_fetch.lock().await;
        *last = Some(Instant::now());
        self.load(source).await
    }

    async fn load(&self, source: &Source) -> anyhow::Result<()> {
        let keys = Keys::from_set(&source.keys.get::<JwkSet>(None).await?);
        anyhow::ensure!(!keys.is_empty(), "the published set holds no Ed25519 key");
        let before = self.shared.keys.swap(Arc::new(keys));
        if !before.all_in(&self.shared.keys.load()) {
            // A key was withdrawn: the tokens it signed must be verified again, and fail.
            self.shared.verified.invalidate_all();
        }
        Ok(())
    }
}

fn is_expired(claims: &Claims) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    u64::try_from(claims.exp).unwrap_or_default() + LEEWAY_SECONDS < now
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_newcomer_is_remembered_by_a_memory_full_of_old_acquaintances() {
        let claims = Arc::new(Claims {
            sub: Uuid::nil(),
            roles: Vec::new(),
            sid: Uuid::nil(),
            jti: Uuid::nil(),
            exp: i64::MAX,
            iat: 0,
            iss: String::new(),
            aud: String::new(),
        });
        let remembered = remembered(8);
        for number in 0..8 {
            remembered.insert([number; 32], Arc::clone(&claims));
        }
        for _ in 0..10 {
            for number in 0..8 {
                remembered.get(&[number; 32]);
            }
        }
        remembered.run_pending_tasks();
        remembered.insert([8; 32], claims);
        remembered.run_pending_tasks();
        assert!(remembered.contains_key(&[8; 32]));
        assert_eq!(remembered.entry_count(), 8);
    }
}
