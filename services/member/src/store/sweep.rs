//! Removes what has expired. Every statement takes a bounded number of rows and skips those that another
//! replica is working on, so any number of replicas may sweep at once.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::mails;

const PERIOD: Duration = Duration::from_mins(1);
/// Rows per statement: few enough to hold nobody up.
const BATCH: i64 = 1_000;

/// What is removed, and the statement that removes up to `$1` of it. An expired row already has no effect
/// wherever it is read; this only frees its space.
const SWEEPS: [(&str, &str); 9] = [
    (
        "sign-up-tokens",
        "DELETE FROM sign_up_tokens WHERE hash IN (SELECT hash FROM sign_up_tokens
         WHERE expires_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED)",
    ),
    (
        "sign-ups",
        "DELETE FROM sign_ups WHERE id IN (SELECT id FROM sign_ups
         WHERE expires_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED)",
    ),
    (
        "followed-links",
        "DELETE FROM followed_links WHERE hash IN (SELECT hash FROM followed_links
         WHERE expires_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED)",
    ),
    (
        "password-reset-tokens",
        "DELETE FROM password_reset_tokens WHERE hash IN (SELECT hash FROM password_reset_tokens
         WHERE expires_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED)",
    ),
    (
        "sessions",
        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions
         WHERE expires_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED)",
    ),
    (
        "refresh-tokens",
        "DELETE FROM refresh_tokens WHERE hash IN (SELECT hash FROM refresh_tokens
         WHERE expires_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED)",
    ),
    (
        "revocations",
        "DELETE FROM revocations WHERE position IN (SELECT position FROM revocations
         WHERE tokens_until <= now() LIMIT $1 FOR UPDATE SKIP LOCKED)",
    ),
    (
        "attempts",
        "DELETE FROM attempts WHERE (scope, subject) IN (SELECT scope, subject FROM attempts
         WHERE resets_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED)",
    ),
    // Kept as long as a sign-up waits for its mail; nobody expects an older mail any more.
    (
        "unsent-mails",
        "DELETE FROM mail_outbox WHERE id IN (SELECT id FROM mail_outbox
         WHERE created_at <= now() - interval '3 days' LIMIT $1 FOR UPDATE SKIP LOCKED)",
    ),
];

/// Sweeps once a minute until told to stop. If the database is down, it tries again a minute later.
pub(crate) async fn sweep_loop(pool: PgPool, stop: CancellationToken) -> anyhow::Result<()> {
    loop {
        if let Err(error) = sweep(&pool).await {
            tracing::warn!(%error, "cannot remove what has expired");
        }
        // Replicas that started together drift apart instead of meeting every minute.
        let pause = PERIOD.mul_f64(rand::random_range(0.75..1.25));
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn sweep(pool: &PgPool) -> sqlx::Result<()> {
    for (what, statement) in SWEEPS {
        loop {
            let removed = sqlx::query(statement).bind(BATCH).execute(pool).await?.rows_affected();
            metrics::counter!("member_swept_rows_total", "what" => what).increment(removed);
            if removed < BATCH.unsigned_abs() {
                break;
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; nobody counts 2^53 mails")]
    metrics::gauge!("member_mails_waiting").set(mails::waiting(pool).await? as f64);
    Ok(())
}
