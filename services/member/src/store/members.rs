//! Members themselves.

use rocketmart_kit::auth::Role;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::attempts;
use super::mails::{self, Notice};
use crate::domain::email::EmailAddress;
use crate::domain::name::Name;
use crate::domain::{limit, role};

#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) roles: Vec<Role>,
    /// `None` for an imported member, who never had a password.
    pub(crate) password_hash: Option<String>,
    pub(crate) created_at: OffsetDateTime,
}

impl<'r> FromRow<'r, PgRow> for Member {
    fn from_row(row: &'r PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            email: row.try_get("email")?,
            name: row.try_get("name")?,
            roles: roles(row)?,
            password_hash: row.try_get("password_hash")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

/// The `roles` column; the table's CHECK lists the same three.
pub(super) fn roles(row: &PgRow) -> sqlx::Result<Vec<Role>> {
    let names: Vec<String> = row.try_get("roles")?;
    names
        .iter()
        .map(|name| {
            role::parse(name).ok_or_else(|| sqlx::Error::Decode(format!("unknown role {name}").into()))
        })
        .collect()
}

pub(super) fn role_names(roles: &[Role]) -> Vec<&'static str> {
    roles.iter().copied().map(role::name).collect()
}

pub(crate) async fn by_email(pool: &PgPool, email: &EmailAddress) -> sqlx::Result<Option<Member>> {
    sqlx::query_as("SELECT * FROM members WHERE email = $1").bind(email.as_str()).fetch_optional(pool).await
}

/// The member of a session that has not ended. Elsewhere access tokens outlive a log-out; here they do not.
pub(crate) async fn in_session(pool: &PgPool, id: Uuid, session: Uuid) -> sqlx::Result<Option<Member>> {
    sqlx::query_as(
        "SELECT m.* FROM members m JOIN sessions s ON s.member_id = m.id
         WHERE m.id = $1 AND s.id = $2 AND s.expires_at > now()",
    )
    .bind(id)
    .bind(session)
    .fetch_optional(pool)
    .await
}

/// What a member changes about themselves; `None` leaves a field as it is.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) name: Option<Name>,
    pub(crate) roles: Option<Vec<Role>>,
}

/// `None` if the member was deleted meanwhile.
pub(crate) async fn update(pool: &PgPool, id: Uuid, change: &Change) -> sqlx::Result<Option<Member>> {
    sqlx::query_as(
        "UPDATE members SET name = coalesce($2, name), roles = coalesce($3, roles) WHERE id = $1 RETURNING *",
    )
    .bind(id)
    .bind(change.name.as_ref().map(Name::as_str))
    .bind(change.roles.as_deref().map(role_names))
    .fetch_optional(pool)
    .await
}

/// Sets a new password if `known_hash` is still the current one (of two changes at once, the first wins).
/// Ends every session except `kept` and tells the member by mail. Returns whether it changed.
pub(crate) async fn change_password(
    pool: &PgPool,
    member: &Member,
    new_hash: &str,
    kept: Uuid,
) -> sqlx::Result<bool> {
    let mut tx = pool.begin().await?;
    let changed = sqlx::query(
        "UPDATE members SET password_hash = $3 WHERE id = $1 AND password_hash IS NOT DISTINCT FROM $2",
    )
    .bind(member.id)
    .bind(&member.password_hash)
    .bind(new_hash)
    .execute(&mut *tx)
    .await?;
    if changed.rows_affected() == 0 {
        return Ok(false);
    }
    after_new_password(&mut tx, member.id, &member.email, Some(kept)).await?;
    tx.commit().await?;
    Ok(true)
}

/// What follows a new password, however it came: links to set another one stop working, what guessing the old
/// one had locked is lifted, sessions end, and the owner gets a mail.
pub(super) async fn after_new_password(
    tx: &mut PgConnection,
    member: Uuid,
    email: &str,
    kept: Option<Uuid>,
) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM password_reset_tokens WHERE member_id = $1")
        .bind(member)
        .execute(&mut *tx)
        .await?;
    attempts::lift(tx, limit::account(&EmailAddress::stored(email.to_owned()))).await?;
    mails::forget(tx, Notice::PasswordReset, member).await?;
    sqlx::query("DELETE FROM sessions WHERE member_id = $1 AND id IS DISTINCT FROM $2")
        .bind(member)
        .bind(kept)
        .execute(&mut *tx)
        .await?;
    mails::to_member(tx, Notice::PasswordChanged, member, email).await
}

/// Removes the member with sessions, links and waiting mails, unconfirmed sign-ups, and attempts counted for
/// the address. A last mail says so.
pub(crate) async fn delete(pool: &PgPool, member: &Member) -> sqlx::Result<()> {
    let mut tx = pool.begin().await?;
    let deleted = sqlx::query("DELETE FROM members WHERE id = $1").bind(member.id).execute(&mut *tx).await?;
    if deleted.rows_affected() > 0 {
        let email = EmailAddress::stored(member.email.clone());
        attempts::lift(&mut tx, limit::account(&email)).await?;
        sqlx::query(
            "DELETE FROM sign_ups WHERE id IN (SELECT id FROM sign_ups WHERE email = $1 FOR UPDATE SKIP LOCKED)",
        )
        .bind(email.as_str())
        .execute(&mut *tx)
        .await?;
        mails::to_nobody(&mut tx, Notice::AccountDeleted, &member.email).await?;
    }
    tx.commit().await
}

/// A member that an administrator imports.
#[derive(Debug, Clone)]
pub(crate) struct Imported {
    pub(crate) email: EmailAddress,
    pub(crate) name: Name,
}

/// Adds those whose e-mail is new, as buyers without a password, and returns the ids of all in the given
/// order. Repeating an import changes nothing.
pub(crate) async fn import(pool: &PgPool, imported: &[Imported]) -> sqlx::Result<Vec<Uuid>> {
    let mut new: Vec<&Imported> = imported.iter().collect();
    // The same order for all: overlapping imports wait for each other instead of dead-locking.
    new.sort_by(|a, b| a.email.cmp(&b.email));
    let ids: Vec<Uuid> = new.iter().map(|_| Uuid::now_v7()).collect();
    let emails: Vec<&str> = new.iter().map(|member| member.email.as_str()).collect();
    let names: Vec<&str> = new.iter().map(|member| member.name.as_str()).collect();
    sqlx::query(
        "INSERT INTO members (id, email, name, roles)
         SELECT id, email, name, ARRAY['buyer'] FROM unnest($1::uuid[], $2::text[], $3::text[]) AS new (id, email, name)
         ON CONFLICT (email) DO NOTHING",
    )
    .bind(ids)
    .bind(emails)
    .bind(names)
    .execute(pool)
    .await?;

    let given: Vec<&str> = imported.iter().map(|member| member.email.as_str()).collect();
    sqlx::query_scalar(
        "SELECT m.id FROM unnest($1::text[]) WITH ORDINALITY AS given (email, position)
         JOIN members m USING (email) ORDER BY position",
    )
    .bind(given)
    .fetch_all(pool)
    .await
}

/// Makes sure that `email` is an administrator. An existing password is kept, because it may have been
/// changed since the first start.
pub(crate) async fn ensure_administrator(
    pool: &PgPool,
    email: &EmailAddress,
    password_hash: &str,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO members (id, email, name, roles, password_hash)
         VALUES ($1, $2, 'Administrator', ARRAY['buyer', 'admin'], $3)
         ON CONFLICT (email) DO UPDATE
         SET password_hash = coalesce(members.password_hash, excluded.password_hash),
             roles = CASE WHEN 'admin' = ANY (members.roles) THEN members.roles
                          ELSE members.roles || ARRAY['admin'] END",
    )
    .bind(Uuid::now_v7())
    .bind(email.as_str())
    .bind(password_hash)
    .execute(pool)
    .await?;
    Ok(())
}
