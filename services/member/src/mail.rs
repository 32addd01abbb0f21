//! Mails on their way out: claimed from the outbox, given their link, written, sent over SMTP.
//!
//! A mail is removed only after the server accepted it, so it may arrive twice but is never lost. If the
//! server is down, we try again, less and less often, for as long as the mail makes sense.

mod compose;

use std::sync::Arc;

use anyhow::Context;
use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use sqlx::PgPool;
use time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::domain::secret::Secret;
use crate::store::mails::{self, Notice, Waiting};
use crate::store::{password_resets, sign_ups};
use compose::Letter;

/// The longest time that one SMTP command may take.
const SMTP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
/// Longer than sending can take, so that nobody else claims a mail that is being sent.
const LEASE: Duration = Duration::seconds(120);
/// How many mails are sent at once, each over its own pooled connection.
const AT_ONCE: u32 = 4;
/// How often an idle replica looks for mails that another one left behind.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(1);
/// After this many attempts, we believe a server that keeps refusing this one mail for good (5xx). Its first
/// refusals may be a misconfiguration.
const REFUSALS_BELIEVED: i32 = 8;

/// Wakes this replica's sender when a request has put a mail into the outbox.
#[derive(Clone, Default)]
pub(crate) struct Doorbell(Arc<Notify>);

impl Doorbell {
    pub(crate) fn ring(&self) {
        self.0.notify_one();
    }
}

/// Everything needed to write and send a mail.
#[derive(Clone)]
pub(crate) struct Sender {
    pool: PgPool,
    smtp: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    links: Links,
    doorbell: Doorbell,
}

/// Where links in mails lead to.
#[derive(Clone)]
pub(crate) struct Links {
    public_url: Arc<str>,
}

impl Links {
    pub(crate) fn new(public_url: &url::Url) -> Self {
        Self { public_url: public_url.as_str().trim_end_matches('/').into() }
    }

    fn verification(&self, token: &Secret) -> String {
        format!("{}/api/v1/members/verify?token={}", self.public_url, token.reveal())
    }

    fn password_reset(&self, token: &Secret) -> String {
        format!("{}/api/v1/password-resets/confirm?token={}", self.public_url, token.reveal())
    }
}

impl Sender {
    /// `smtp_url`: `smtp://host:port`, `smtps://user:password@host` or `smtp://host?tls=required`.
    pub(crate) fn new(
        pool: PgPool,
        smtp_url: &str,
        from: Mailbox,
        links: Links,
        doorbell: Doorbell,
    ) -> anyhow::Result<Self> {
        let pool_config = lettre::transport::smtp::PoolConfig::new().max_size(AT_ONCE);
        // The error may quote the URL, and the URL may contain a password.
        let smtp = AsyncSmtpTransport::<Tokio1Executor>::from_url(smtp_url)
            .map_err(|_| anyhow::anyhow!("SMTP_URL is not an SMTP URL such as smtp://host:25"))?
            .timeout(Some(SMTP_TIMEOUT))
            .pool_config(pool_config)
            .build();
        Ok(Self { pool, smtp, from, links, doorbell })
    }

    /// An error if the server does not answer.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.smtp.test_connection().await?, "the mail server does not answer");
        Ok(())
    }

    /// Sends due mails until told to stop, then finishes the mails it has.
    pub(crate) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        while !stop.is_cancelled() {
            let sent = match self.send_due().await {
                Ok(sent) => sent,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "cannot look for mails to send");
                    0
                }
            };
            if sent == 0 {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = self.doorbell.0.notified() => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
        }
        Ok(())
    }

    /// Returns how many mails it claimed.
    async fn send_due(&self) -> anyhow::Result<usize> {
        let due = mails::claim(&self.pool, i64::from(AT_ONCE), LEASE).await.context("claiming mails")?;
        let taken = due.len();
        let mut sending = JoinSet::new();
        for mail in due {
            let sender = self.clone();
            sending.spawn(async move { sender.send(&mail).await });
        }
        while let Some(sent) = sending.join_next().await {
            sent.context("a sender panicked")??;
        }
        Ok(taken)
    }

    async fn send(&self, mail: &Waiting) -> anyhow::Result<()> {
        let Some(letter) = self.write(mail).await.context("writing a mail")? else {
            // What the mail was about is gone.
            return Ok(mails::remove(&self.pool, mail.id).await?);
        };
        let message = letter.addressed(&self.from, mail)?;
        let outcome = match self.smtp.send(message).await {
            Ok(_) => {
                mails::remove(&self.pool, mail.id).await?;
                "sent"
            }
            Err(error) if error.is_permanent() && mail.attempts >= REFUSALS_BELIEVED => {
                tracing::warn!(mail = %mail.id, %error, "the mail server refuses this mail for good");
                mails::remove(&self.pool, mail.id).await?;
                "refused"
            }
            Err(error) => {
                let pause = back_off(mail.attempts);
                tracing::warn!(mail = %mail.id, attempts = mail.attempts, %error, "mail not sent, trying again");
                mails::postpone(&self.pool, mail.id, pause, &error.to_string()).await?;
                "postponed"
            }
        };
        metrics::counter!("member_mails_total", "kind" => mail.notice.kind(), "outcome" => outcome)
            .increment(1);
        Ok(())
    }

    /// Gives the mail its link, made now so that it is never stored. `None` if there is nobody to write to.
    async fn write(&self, mail: &Waiting) -> sqlx::Result<Option<Letter>> {
        let token = Secret::random();
        Ok(match (mail.notice, mail.sign_up_id, mail.member_id) {
            (Notice::Verification, Some(sign_up), _) => {
                let valid = sign_ups::put_token(&self.pool, sign_up, token.hash()).await?;
                valid.then(|| Letter::verification(&self.links.verification(&token)))
            }
            (Notice::PasswordReset, _, Some(member)) => {
                let valid = password_resets::put_token(&self.pool, member, token.hash()).await?;
                valid.then(|| Letter::password_reset(&self.links.password_reset(&token)))
            }
            (Notice::AlreadyMember, ..) => Some(Letter::already_member()),
            (Notice::PasswordChanged, ..) => Some(Letter::password_changed()),
            (Notice::AccountDeleted, ..) => Some(Letter::account_deleted()),
            (Notice::Verification | Notice::PasswordReset, ..) => None,
        })
    }
}

/// Doubles from a second to five minutes, with jitter.
fn back_off(attempts: i32) -> Duration {
    let doublings = attempts.clamp(1, 10).unsigned_abs() - 1;
    let seconds = f64::from(2_u32.pow(doublings)).min(300.0);
    Duration::seconds_f64(seconds * rand::random_range(0.8..1.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_grow_apart_up_to_five_minutes() {
        for (attempts, seconds) in
            [(0, 1.0), (1, 1.0), (2, 2.0), (5, 16.0), (9, 256.0), (10, 300.0), (99, 300.0)]
        {
            let pause = back_off(attempts).as_seconds_f64();
            assert!((seconds * 0.8..seconds * 1.2).contains(&pause), "{attempts}: {pause}");
        }
    }

    #[test]
    fn links_keep_the_path_of_the_public_url() {
        let links = Links::new(&"https://example.com/shop/".parse().unwrap());
        let token = Secret::random();
        assert_eq!(
            links.verification(&token),
            format!("https://example.com/shop/api/v1/members/verify?token={}", token.reveal())
        );
    }
}
