//! The addresses of members. Every statement names the owner, so that somebody else's address looks
//! missing, not forbidden.

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::address::{Address, Draft, MOST_PER_MEMBER};

#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct AddressRow {
    pub(crate) id: Uuid,
    pub(crate) recipient: String,
    pub(crate) line1: String,
    pub(crate) line2: Option<String>,
    pub(crate) city: String,
    pub(crate) region: Option<String>,
    pub(crate) postal_code: String,
    pub(crate) country: String,
    pub(crate) phone: Option<String>,
    pub(crate) is_default: bool,
    pub(crate) created_at: OffsetDateTime,
}

impl From<AddressRow> for Draft {
    fn from(row: AddressRow) -> Self {
        Self {
            recipient: row.recipient,
            line1: row.line1,
            line2: row.line2,
            city: present(row.city),
            region: row.region,
            postal_code: present(row.postal_code),
            country: row.country,
            phone: row.phone,
        }
    }
}

/// Every address once had to have these columns. They are empty if an address has no such part.
fn present(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Adds an address; `None` if the member has as many as allowed. The first one becomes the default.
pub(crate) async fn add(
    connection: &mut PgConnection,
    owner: Uuid,
    address: &Address,
    make_default: bool,
) -> sqlx::Result<Option<AddressRow>> {
    lock_addresses_of(connection, owner).await?;
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM addresses WHERE member_id = $1 AND deleted_at IS NULL")
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
    let draft = address.as_draft();
    sqlx::query_as(
        "INSERT INTO addresses (id, member_id, recipient, line1, line2, city, region, postal_code, country,
                                phone, is_default)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         RETURNING id, recipient, line1, line2, city, region, postal_code, country, phone, is_default, created_at",
    )
    .bind(Uuid::now_v7())
    .bind(owner)
    .bind(&draft.recipient)
    .bind(&draft.line1)
    .bind(&draft.line2)
    .bind(draft.city.as_deref().unwrap_or_default())
    .bind(&draft.region)
    .bind(draft.postal_code.as_deref().unwrap_or_default())
    .bind(&draft.country)
    .bind(&draft.phone)
    .bind(is_default)
    .fetch_one(connection)
    .await
    .map(Some)
}

/// Newest first, at most `limit`, those before the address `before`.
pub(crate) async fn list(
    pool: &PgPool,
    owner: Uuid,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<AddressRow>> {
    sqlx::query_as(
        "SELECT id, recipient, line1, line2, city, region, postal_code, country, phone, is_default, created_at
         FROM addresses
         WHERE member_id = $1 AND deleted_at IS NULL AND ($2::uuid IS NULL OR id < $2)
         ORDER BY id DESC LIMIT $3",
    )
    .bind(owner)
    .bind(before)
    .bind(limit)
    .fetch_all(pool)
    .await
}

pub(crate) async fn one(pool: &PgPool, owner: Uuid, id: Uuid) -> sqlx::Result<Option<AddressRow>> {
    sqlx::query_as(
        "SELECT id, recipient, line1, line2, city, region, postal_code, country, phone, is_default, created_at
         FROM addresses WHERE id = $1 AND member_id = $2 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(owner)
    .fetch_optional(pool)
    .await
}

/// For each member, the named address if it is theirs and not deleted, otherwise their default, in the same
/// order. Two look-ups instead of one with OR, so that each uses its index.
pub(crate) async fn choose(
    pool: &PgPool,
    members: &[Uuid],
    named: &[Option<Uuid>],
) -> sqlx::Result<Vec<Option<Uuid>>> {
    sqlx::query_scalar(
        "SELECT coalesce(
             (SELECT id FROM addresses
              WHERE id = w.address_id AND member_id = w.member_id AND deleted_at IS NULL),
             (SELECT id FROM addresses WHERE w.address_id IS NULL AND member_id = w.member_id AND is_default))
         FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS w (member_id, address_id, place)
         ORDER BY w.place",
    )
    .bind(members)
    .bind(named)
    .fetch_all(pool)
    .await
}

/// The address as it is, locked to be changed in this transaction.
pub(crate) async fn lock(
    connection: &mut PgConnection,
    owner: Uuid,
    id: Uuid,
) -> sqlx::Result<Option<AddressRow>> {
    sqlx::query_as(
        "SELECT id, recipient, line1, line2, city, region, postal_code, country, phone, is_default, created_at
         FROM addresses WHERE id = $1 AND member_id = $2 AND deleted_at IS NULL FOR UPDATE",
    )
    .bind(id)
    .bind(owner)
    .fetch_optional(connection)
    .await
}

/// Replaces the contents of a locked address, but not whether it is the default.
pub(crate) async fn change(
    connection: &mut PgConnection,
    id: Uuid,
    address: &Address,
) -> sqlx::Result<AddressRow> {
    let draft = address.as_draft();
    sqlx::query_as(
        "UPDATE addresses SET recipient = $2, line1 = $3, line2 = $4, city = $5, region = $6,
                              postal_code = $7, country = $8, phone = $9 WHERE id = $1
         RETURNING id, recipient, line1, line2, city, region, postal_code, country, phone, is_default, created_at",
    )
    .bind(id)
    .bind(&draft.recipient)
    .bind(&draft.line1)
    .bind(&draft.line2)
    .bind(draft.city.as_deref().unwrap_or_default())
    .bind(&draft.region)
    .bind(draft.postal_code.as_deref().unwrap_or_default())
    .bind(&draft.country)
    .bind(&draft.phone)
    .fetch_one(connection)
    .await
}

/// Hides the address from its owner. If it was the default, the newest of the others takes its place. Returns
/// whether it existed.
pub(crate) async fn remove(pool: &PgPool, owner: Uuid, id: Uuid) -> sqlx::Result<bool> {
    let mut tx = pool.begin().await?;
    lock_addresses_of(&mut tx, owner).await?;
    let Some(removed) = lock(&mut tx, owner, id).await? else { return Ok(false) };
    sqlx::query("UPDATE addresses SET deleted_at = now(), is_default = false WHERE id = $1")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    if removed.is_default {
        sqlx::query(
            "UPDATE addresses SET is_default = true
             WHERE id = (SELECT id FROM addresses WHERE member_id = $1 AND deleted_at IS NULL
                         ORDER BY id DESC LIMIT 1)",
        )
        .bind(owner)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// Makes the address the default; returns whether it existed.
pub(crate) async fn make_default(pool: &PgPool, owner: Uuid, id: Uuid) -> sqlx::Result<bool> {
    let mut tx = pool.begin().await?;
    lock_addresses_of(&mut tx, owner).await?;
    if lock(&mut tx, owner, id).await?.is_none() {
        return Ok(false);
    }
    clear_default(&mut tx, owner).await?;
    sqlx::query("UPDATE addresses SET is_default = true WHERE id = $1").bind(id).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(true)
}

/// Allows one change of a member's addresses at a time, so that count and default stay correct.
async fn lock_addresses_of(connection: &mut PgConnection, owner: Uuid) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('addresses ' || $1::text, 0))")
        .bind(owner)
        .execute(connection)
        .await?;
    Ok(())
}

async fn clear_default(connection: &mut PgConnection, owner: Uuid) -> sqlx::Result<()> {
    sqlx::query("UPDATE addresses SET is_default = false WHERE member_id = $1 AND is_default")
        .bind(owner)
        .execute(connection)
        .await?;
    Ok(())
}
