//! Sets a new password with the help of a mailed link.

use sqlx::{PgPool, Row};
use time::Duration;
use uuid::Uuid;

use super::mails;
use super::{members, seconds};
use crate::domain::email::EmailAddress;
use crate::domain::secret::SecretHash;

/// How long a link works once sent.
pub(crate) const LINK_LIFETIME: Duration = Duration::hours(1);

/// Queues a mail with a link if `email` is a member's. It is one statement either way, so its time does not
/// reveal which.
pub(crate) async fn request(pool: &PgPool, email: &EmailAddress) -> sqlx::Result<()> {
    mails::password_reset(pool, email.as_str()).await
}

/// Makes the link of a mail that is about to be sent valid. `false` if the member is gone.
pub(crate) async fn put_token(pool: &PgPool, member: Uuid, hash: SecretHash) -> sqlx::Result<bool> {
    let put = sqlx::query(
        "INSERT INTO password_reset_tokens (hash, member_id, expires_at)
         SELECT $2, id, now() + make_interval(secs => $3) FROM members WHERE id = $1",
    )
    .bind(member)
    .bind(hash)
    .bind(seconds(LINK_LIFETIME))
    .execute(pool)
    .await?;
    Ok(put.rows_affected() > 0)
}

/// The address a link belongs to, without using the link up.
pub(crate) async fn owner(pool: &PgPool, hash: SecretHash) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(
        "SELECT email FROM password_reset_tokens JOIN members ON members.id = member_id
         WHERE hash = $1 AND expires_at > now()",
    )
    .bind(hash)
    .fetch_optional(pool)
    .await
}

/// Uses the link up: sets the password, ends every session, tells the member, and returns the member's id.
/// `None` if the link is unknown, used or expired.
pub(crate) async fn confirm(
    pool: &PgPool,
    hash: SecretHash,
    password_hash: &str,
) -> sqlx::Result<Option<Uuid>> {
    let mut tx = pool.begin().await?;
    // Locks the member's row first, as everywhere: two links used at once take turns on it, and the second
    // finds its token gone.
    let member = sqlx::query(
        "UPDATE members SET password_hash = $2
         WHERE id = (SELECT member_id FROM password_reset_tokens WHERE hash = $1 AND expires_at > now())
         RETURNING id, email",
    )
    .bind(hash)
    .bind(password_hash)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(member) = member else { return Ok(None) };
    let used =
        sqlx::query("DELETE FROM password_reset_tokens WHERE hash = $1").bind(hash).execute(&mut *tx).await?;
    if used.rows_affected() == 0 {
        return Ok(None);
    }
    let (id, email): (Uuid, String) = (member.try_get("id")?, member.try_get("email")?);
    members::after_new_password(&mut tx, id, &email, None).await?;
    tx.commit().await?;
    Ok(Some(id))
}
