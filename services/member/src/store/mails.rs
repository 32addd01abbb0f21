//! The outbox of mails: each is stored together with the fact it announces, and any free replica claims it.

use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};
use time::Duration;
use uuid::Uuid;

use super::seconds;

/// What a mail says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Follow this link to become a member.
    Verification,
    /// You (or somebody) signed up again.
    AlreadyMember,
    /// Follow this link to set a new password.
    PasswordReset,
    PasswordChanged,
    AccountDeleted,
}

impl Notice {
    const ALL: [Self; 5] = [
        Self::Verification,
        Self::AlreadyMember,
        Self::PasswordReset,
        Self::PasswordChanged,
        Self::AccountDeleted,
    ];

    /// As stored, and as the metric's label.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Verification => "verification",
            Self::AlreadyMember => "already-member",
            Self::PasswordReset => "password-reset",
            Self::PasswordChanged => "password-changed",
            Self::AccountDeleted => "account-deleted",
        }
    }
}

impl TryFrom<String> for Notice {
    type Error = String;

    fn try_from(kind: String) -> Result<Self, String> {
        Self::ALL.into_iter().find(|notice| notice.kind() == kind).ok_or(kind)
    }
}

/// A mail that somebody has claimed for sending.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Waiting {
    pub(crate) id: Uuid,
    #[sqlx(rename = "kind", try_from = "String")]
    pub(crate) notice: Notice,
    pub(crate) recipient: String,
    pub(crate) sign_up_id: Option<Uuid>,
    pub(crate) member_id: Option<Uuid>,
    /// Including this one.
    pub(crate) attempts: i32,
}

pub(super) async fn for_sign_up(tx: &mut PgConnection, sign_up: Uuid, email: &str) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO mail_outbox (id, kind, recipient, sign_up_id) VALUES ($1, $2, $3, $4)")
        .bind(Uuid::now_v7())
        .bind(Notice::Verification.kind())
        .bind(email)
        .bind(sign_up)
        .execute(tx)
        .await?;
    Ok(())
}

pub(super) async fn to_member(
    tx: &mut PgConnection,
    notice: Notice,
    member: Uuid,
    email: &str,
) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO mail_outbox (id, kind, recipient, member_id) VALUES ($1, $2, $3, $4)")
        .bind(Uuid::now_v7())
        .bind(notice.kind())
        .bind(email)
        .bind(member)
        .execute(tx)
        .await?;
    Ok(())
}

/// Writes to an address that no longer belongs to a member.
pub(super) async fn to_nobody(tx: &mut PgConnection, notice: Notice, email: &str) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO mail_outbox (id, kind, recipient) VALUES ($1, $2, $3)")
        .bind(Uuid::now_v7())
        .bind(notice.kind())
        .bind(email)
        .execute(tx)
        .await?;
    Ok(())
}

pub(super) async fn password_reset(pool: &PgPool, email: &str) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO mail_outbox (id, kind, recipient, member_id)
         SELECT $1, $2, email, id FROM members WHERE email = $3",
    )
    .bind(Uuid::now_v7())
    .bind(Notice::PasswordReset.kind())
    .bind(email)
    .execute(pool)
    .await?;
    Ok(())
}

/// Drops unsent mails that would tell `member` something that is no longer true.
pub(super) async fn forget(tx: &mut PgConnection, notice: Notice, member: Uuid) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM mail_outbox WHERE member_id = $1 AND kind = $2")
        .bind(member)
        .bind(notice.kind())
        .execute(tx)
        .await?;
    Ok(())
}

/// Claims up to `most` due mails. The claim is a lease: if its sender dies, so that a mail is neither sent
/// nor postponed within it, the mail is due again.
pub(crate) async fn claim(pool: &PgPool, most: i64, lease: Duration) -> sqlx::Result<Vec<Waiting>> {
    sqlx::query_as(
        "UPDATE mail_outbox SET attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => $2)
         WHERE id IN (SELECT id FROM mail_outbox WHERE next_attempt_at <= now()
                      ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED)
         RETURNING id, kind, recipient, sign_up_id, member_id, attempts",
    )
    .bind(most)
    .bind(seconds(lease))
    .fetch_all(pool)
    .await
}

/// The mail was sent, or never will be.
pub(crate) async fn remove(db: impl PgExecutor<'_>, mail: Uuid) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM mail_outbox WHERE id = $1").bind(mail).execute(db).await?;
    Ok(())
}

pub(crate) async fn postpone(pool: &PgPool, mail: Uuid, pause: Duration, error: &str) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE mail_outbox SET next_attempt_at = now() + make_interval(secs => $2), last_error = $3 WHERE id = $1",
    )
    .bind(mail)
    .bind(seconds(pause))
    .bind(error)
    .execute(pool)
    .await?;
    Ok(())
}

/// How many mails are waiting, due or not.
pub(crate) async fn waiting(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM mail_outbox").fetch_one(pool).await
}
