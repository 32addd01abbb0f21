//! Sign-ups that wait until somebody follows their link.

use rocketmart_kit::auth::Role;
use sqlx::{PgPool, Row};
use time::Duration;
use uuid::Uuid;

use super::mails::{self, Notice};
use super::members::role_names;
use super::seconds;
use crate::domain::email::EmailAddress;
use crate::domain::name::Name;
use crate::domain::secret::SecretHash;

/// How long a sign-up waits for its mail to be sent; then the link's own time starts.
pub(crate) const UNSENT_LIFETIME: Duration = Duration::days(3);
/// How long a link works once sent.
pub(crate) const LINK_LIFETIME: Duration = Duration::hours(24);

pub(crate) struct SignUp<'a> {
    pub(crate) email: &'a EmailAddress,
    pub(crate) name: &'a Name,
    pub(crate) roles: &'a [Role],
    pub(crate) password_hash: &'a str,
}

/// Stores the sign-up and a mail with its link. For an address that already has an account, only a mail that
/// says so. The caller cannot tell which.
pub(crate) async fn begin(pool: &PgPool, sign_up: &SignUp<'_>) -> sqlx::Result<()> {
    let mut tx = pool.begin().await?;
    // An imported member never chose a password. Signing up is how they take over their account.
    let member: Option<Uuid> =
        sqlx::query_scalar("SELECT id FROM members WHERE email = $1 AND password_hash IS NOT NULL")
            .bind(sign_up.email.as_str())
            .fetch_optional(&mut *tx)
            .await?;
    if let Some(member) = member {
        mails::to_member(&mut tx, Notice::AlreadyMember, member, sign_up.email.as_str()).await?;
    } else {
        let id = Uuid::now_v7();
        sqlx::query(
            "INSERT INTO sign_ups (id, email, name, roles, password_hash, expires_at)
             VALUES ($1, $2, $3, $4, $5, now() + make_interval(secs => $6))",
        )
        .bind(id)
        .bind(sign_up.email.as_str())
        .bind(sign_up.name.as_str())
        .bind(role_names(sign_up.roles))
        .bind(sign_up.password_hash)
        .bind(seconds(UNSENT_LIFETIME))
        .execute(&mut *tx)
        .await?;
        mails::for_sign_up(&mut tx, id, sign_up.email.as_str()).await?;
    }
    tx.commit().await
}

/// Makes the link of a mail that is about to be sent valid. `false` if the sign-up is gone.
pub(crate) async fn put_token(pool: &PgPool, sign_up: Uuid, hash: SecretHash) -> sqlx::Result<bool> {
    let put = sqlx::query(
        "WITH waiting AS (
             UPDATE sign_ups SET expires_at = greatest(expires_at, now() + make_interval(secs => $3))
             WHERE id = $1 RETURNING id)
         INSERT INTO sign_up_tokens (hash, sign_up_id, expires_at)
         SELECT $2, id, now() + make_interval(secs => $3) FROM waiting",
    )
    .bind(sign_up)
    .bind(hash)
    .bind(seconds(LINK_LIFETIME))
    .execute(pool)
    .await?;
    Ok(put.rows_affected() > 0)
}

/// The result of following a link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    /// The sign-up became this member.
    Joined(Uuid),
    /// The sign-up had become a member before.
    Again,
    /// The link is unknown or expired, or its address got an account some other way.
    Invalid,
}

/// Follows a link: the sign-up becomes a member, and all other sign-ups for its address end.
pub(crate) async fn confirm(pool: &PgPool, hash: SecretHash) -> sqlx::Result<Followed> {
    let mut tx = pool.begin().await?;
    // Removing a sign-up removes its links too. What is read beside the removal is what was there before.
    let sign_up = sqlx::query(
        "WITH gone AS (
             DELETE FROM sign_ups WHERE id =
                 (SELECT sign_up_id FROM sign_up_tokens WHERE hash = $1 AND expires_at > now())
             RETURNING id, email, name, roles, password_hash)
         SELECT email, name, roles, password_hash,
                ARRAY (SELECT t.hash FROM sign_up_tokens t WHERE t.sign_up_id = gone.id) AS links
         FROM gone",
    )
    .bind(hash)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(sign_up) = sign_up else {
        tx.rollback().await?;
        return Ok(if was_followed(pool, hash).await? { Followed::Again } else { Followed::Invalid });
    };
    let email: String = sign_up.try_get("email")?;
    let member: Option<Uuid> = sqlx::query_scalar(
        "INSERT INTO members (id, email, name, roles, password_hash) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (email) DO UPDATE SET name = excluded.name, password_hash = excluded.password_hash
         WHERE members.password_hash IS NULL
         RETURNING id",
    )
    .bind(Uuid::now_v7())
    .bind(&email)
    .bind(sign_up.try_get::<String, _>("name")?)
    .bind(sign_up.try_get::<Vec<String>, _>("roles")?)
    .bind(sign_up.try_get::<String, _>("password_hash")?)
    .fetch_optional(&mut *tx)
    .await?;
    // Not a sign-up that is being confirmed right now: it will go by itself. It waits for us, so waiting for
    // it would be a dead-lock.
    sqlx::query(
        "DELETE FROM sign_ups WHERE id IN (SELECT id FROM sign_ups WHERE email = $1 FOR UPDATE SKIP LOCKED)",
    )
    .bind(&email)
    .execute(&mut *tx)
    .await?;
    if let Some(member) = member {
        sqlx::query(
            "INSERT INTO followed_links (hash, member_id, expires_at)
             SELECT hash, $2, now() + make_interval(secs => $3) FROM unnest($1::bytea[]) AS links (hash)",
        )
        .bind(sign_up.try_get::<Vec<Vec<u8>>, _>("links")?)
        .bind(member)
        .bind(seconds(LINK_LIFETIME))
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(member.map_or(Followed::Invalid, Followed::Joined))
}

/// Whether a link made somebody a member not long ago.
pub(crate) async fn was_followed(pool: &PgPool, hash: SecretHash) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM followed_links WHERE hash = $1 AND expires_at > now())")
        .bind(hash)
        .fetch_one(pool)
        .await
}
