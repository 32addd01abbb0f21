//! Signed call-backs: what the provider tells the shop on its own.
//!
//! A call-back is repeated a few times, with growing pauses, until it gets a 2xx answer. The settings decide
//! whether each is sent twice and how late; jitter mixes up their order.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;
use time::OffsetDateTime;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::records::{Authorization, AuthorizationStatus, Charge, ChargeStatus, Refund};
use super::settings::Settings;

const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const AT_ONCE: usize = 32;

/// The content of a call-back.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Subject {
    Authorization(Authorization),
    Charge(Charge),
    Refund(Refund),
}

impl From<Authorization> for Subject {
    fn from(authorization: Authorization) -> Self {
        Self::Authorization(authorization)
    }
}

impl From<Charge> for Subject {
    fn from(charge: Charge) -> Self {
        Self::Charge(charge)
    }
}

impl From<Refund> for Subject {
    fn from(refund: Refund) -> Self {
        Self::Refund(refund)
    }
}

impl Subject {
    fn kind(&self) -> &'static str {
        match self {
            Self::Authorization(authorization) => match authorization.status {
                AuthorizationStatus::Authorized => "authorization.authorized",
                AuthorizationStatus::Declined => "authorization.declined",
                AuthorizationStatus::Captured => "authorization.captured",
                AuthorizationStatus::Voided => "authorization.voided",
            },
            Self::Charge(charge) if charge.status == ChargeStatus::Succeeded => "charge.succeeded",
            Self::Charge(_) => "charge.declined",
            Self::Refund(_) => "refund.succeeded",
        }
    }
}

#[derive(Serialize)]
struct Callback {
    id: Uuid,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    data: Subject,
}

struct Job {
    url: String,
    body: String,
    delay: Duration,
}

/// Queues call-backs for sending in the background.
pub(super) struct CallbackSender(mpsc::UnboundedSender<Job>);

impl CallbackSender {
    /// Sends what `settings` call for: nothing, one call-back, or two.
    pub(super) fn tell(&self, subject: Subject, settings: &Settings) {
        let Some(url) = &settings.callback_url else { return };
        let kind = subject.kind();
        let callback =
            Callback { id: Uuid::new_v4(), kind, created_at: OffsetDateTime::now_utc(), data: subject };
        let body = match serde_json::to_string(&callback) {
            Ok(body) => body,
            Err(error) => return tracing::error!(%error, "a call-back cannot be written as JSON"),
        };
        for _ in 0..=u32::from(settings.duplicate_callbacks) {
            let delay = Duration::from_millis(rand::random_range(0..=settings.callback_jitter_ms));
            // The receiver ends with the process, and then nobody waits for call-backs either.
            let _ = self.0.send(Job { url: url.clone(), body: body.clone(), delay });
        }
    }
}

/// The value of `Provider-Signature` for `body` at the Unix time `at` (seconds).
pub fn signature(secret: &str, at: i64, body: &str) -> String {
    format!("t={at},v1={}", hex::encode(keyed_digest(secret, format!("{at}.{body}").as_bytes())))
}

pub(super) fn keyed_digest(secret: &str, message: &[u8]) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        unreachable!("HMAC takes a key of any length")
    };
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

pub(super) fn start(secret: String, stop: CancellationToken) -> CallbackSender {
    let (sender, mut jobs) = mpsc::unbounded_channel::<Job>();
    let http = reqwest::Client::new();
    let secret: Arc<str> = secret.into();
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    tokio::spawn(async move {
        while let Some(Some(job)) = stop.run_until_cancelled(jobs.recv()).await {
            let (http, secret, permits) = (http.clone(), secret.clone(), permits.clone());
            tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
                tokio::time::sleep(job.delay).await;
                deliver(&http, &secret, &permits, &job).await;
            }));
        }
    });
    CallbackSender(sender)
}

async fn deliver(http: &reqwest::Client, secret: &str, permits: &Semaphore, job: &Job) {
    let mut pause = FIRST_PAUSE;
    for attempt in 1..=ATTEMPTS {
        let Ok(permit) = permits.acquire().await else { return };
        let answer = http
            .post(&job.url)
            .header("content-type", "application/json")
            .header(
                "provider-signature",
                signature(secret, OffsetDateTime::now_utc().unix_timestamp(), &job.body),
            )
            .timeout(Duration::from_secs(5))
            .body(job.body.clone())
            .send()
            .await
            .and_then(reqwest::Response::error_for_status);
        drop(permit);
        match answer {
            Ok(_) => return,
            Err(error) => tracing::warn!(%error, attempt, url = job.url, "a call-back was not taken"),
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_signature_is_hmac_sha256_over_time_and_body() {
        // Computed with: printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            super::signature("secret", 1_700_000_000, r#"{"a":1}"#),
            "t=1700000000,v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686"
        );
    }
}
