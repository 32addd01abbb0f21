//! The payment methods of members. Every statement names the owner, so that somebody else's method looks
//! missing, not forbidden.

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::method::MOST_PER_MEMBER;

#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Method {
    pub(crate) id: Uuid,
    pub(crate) label: Option<String>,
    pub(crate) is_default: bool,
    pub(crate) created_at: OffsetDateTime,
}

/// Adds a method; `None` if the member has as many as allowed. The first one becomes the default.
pub(crate) async fn add(
    connection: &mut PgConnection,
    owner: Uuid,
    provider_token: &str,
    label: Option<&str>,
    make_default: bool,
) -> sqlx::Result<Option<Method>> {
    lock_methods_of(connection, owner).await?;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM payment_methods WHERE member_id = $1")
        .bind(owner)
        .fetch_one(&mut *connection)
        .await?;
    if count >= MOST_PER_MEMBER {
        return Ok(None);
    }
    let is_default = make_default || count == 0;
    if is_default {
        clear_default(connection, owner).await?;
    }
    sqlx::query_as(
        "INSERT INTO payment_methods (id, member_id, provider_token, label, is_default)
         VALUES ($1, $2, $3, $4, $5) RETURNING id, label, is_default, created_at",
    )
    .bind(Uuid::now_v7())
    .bind(owner)
    .bind(provider_token)
    .bind(label)
    .bind(is_default)
    .fetch_one(connection)
    .await
    .map(Some)
}

/// Newest first, at most `limit`, those before the method `before`.
pub(crate) async fn list(
    pool: &PgPool,
    owner: Uuid,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Method>> {
    sqlx::query_as(
        "SELECT id, label, is_default, created_at FROM payment_methods
         WHERE member_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
    )
    .bind(owner)
    .bind(before)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// For each member, the named method if it is theirs, otherwise their default, in the same order. Two
/// look-ups instead of one with OR, so that each uses its index.
pub(crate) async fn choose(
    pool: &PgPool,
    members: &[Uuid],
    named: &[Option<Uuid>],
) -> sqlx::Result<Vec<Option<Uuid>>> {
    sqlx::query_scalar(
        "SELECT coalesce(
             (SELECT id FROM payment_methods WHERE id = w.method_id AND member_id = w.member_id),
             (SELECT id FROM payment_methods WHERE w.method_id IS NULL AND member_id = w.member_id AND is_default))
         FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS w (member_id, method_id, place)
         ORDER BY w.place",
    )
    .bind(members)
    .bind(named)
    .fetch_all(pool)
    .await
}

/// Forgets the method and its token. If it was the default, the newest of the others takes its place. Returns
/// whether it existed.
pub(crate) async fn remove(pool: &PgPool, owner: Uuid, id: Uuid) -> sqlx::Result<bool> {
    let mut tx = pool.begin().await?;
    lock_methods_of(&mut tx, owner).await?;
    let was_default: Option<bool> = sqlx::query_scalar(
        "DELETE FROM payment_methods WHERE id = $1 AND member_id = $2 RETURNING is_default",
    )
    .bind(id)
    .bind(owner)
    .fetch_optional(&mut *tx)
    .await?;
    if was_default == Some(true) {
        sqlx::query(
            "UPDATE payment_methods SET is_default = true
             WHERE id = (SELECT id FROM payment_methods WHERE member_id = $1 ORDER BY id DESC LIMIT 1)",
        )
        .bind(owner)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(was_default.is_some())
}

/// Makes the method the default; returns whether it existed.
pub(crate) async fn make_default(pool: &PgPool, owner: Uuid, id: Uuid) -> sqlx::Result<bool> {
    let mut tx = pool.begin().await?;
    lock_methods_of(&mut tx, owner).await?;
    clear_default(&mut tx, owner).await?;
    let updated =
        sqlx::query("UPDATE payment_methods SET is_default = true WHERE id = $1 AND member_id = $2")
            .bind(id)
            .bind(owner)
            .execute(&mut *tx)
            .await?;
    // It does not exist: dropping the transaction restores the default cleared above.
    if updated.rows_affected() == 0 {
        return Ok(false);
    }
    tx.commit().await?;
    Ok(true)
}

/// Allows one change of a member's methods at a time, so that count and default stay correct.
async fn lock_methods_of(connection: &mut PgConnection, owner: Uuid) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('payment-methods ' || $1::text, 0))")
        .bind(owner)
        .execute(connection)
        .await?;
    Ok(())
}

async fn clear_default(connection: &mut PgConnection, owner: Uuid) -> sqlx::Result<()> {
    sqlx::query("UPDATE payment_methods SET is_default = false WHERE member_id = $1 AND is_default")
        .bind(owner)
        .execute(connection)
        .await?;
    Ok(())
}
