//! Which shop owns a database.
//!
//! Two shops on one database would read each other's outbox, and one would publish the other's orders to its
//! own topics. So a database belongs to the first shop that reaches it. A process of another shop waits until
//! the owner gives it up (docs/adr/0032):
//!
//! ```text
//!   a process starts ──▶ rocketmart_shop: one row ──▶ this shop: go on
//!                                │              └───▶ another: wait, and name both
//!                                └ no table, or no row: write this shop's
//! ```
//! A lock makes concurrent claims wait for each other; the table could not hold two rows anyway. `DELETE FROM
//! rocketmart_shop` gives the database up.

use anyhow::Context;
use sqlx::{Connection as _, Executor as _, PgConnection};

/// Held while a database is claimed: `rocketma` in ASCII.
const LOCK: i64 = 0x726f_636b_6574_6d61;

const TABLE: &str = "CREATE TABLE rocketmart_shop (
    id text NOT NULL,
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one)
)";

/// Claims the database for this shop if nobody owns it; fails if another shop does.
pub(super) async fn claim(connection: &mut PgConnection, shop: &str) -> anyhow::Result<()> {
    let owner = match owner(connection).await? {
        Some(owner) => owner,
        None => take(connection, shop).await.context("the database cannot be claimed for the shop")?,
    };
    anyhow::ensure!(owner == shop, "this database belongs to the shop {owner}, and this is {shop}");
    Ok(())
}

/// The owner, if there is one.
async fn owner(connection: &mut PgConnection) -> sqlx::Result<Option<String>> {
    if !has_table(connection).await? {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT id FROM rocketmart_shop").fetch_optional(connection).await
}

/// We ask first, because PostgreSQL would log a notice at each attempt to create a table that exists.
async fn has_table(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let has = "SELECT to_regclass('rocketmart_shop') IS NOT NULL";
    sqlx::query_scalar(has).fetch_one(connection).await
}

/// Writes this shop's name unless there is one already. Returns the name that is there.
async fn take(connection: &mut PgConnection, shop: &str) -> sqlx::Result<String> {
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
    if !has_table(&mut transaction).await? {
        transaction.execute(TABLE).await?;
    }
    let written = sqlx::query("INSERT INTO rocketmart_shop (id) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(shop)
        .execute(&mut *transaction)
        .await?;
    let owner = sqlx::query_scalar("SELECT id FROM rocketmart_shop").fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    if written.rows_affected() > 0 {
        tracing::info!(shop, "this database is claimed for the shop");
    }
    Ok(owner)
}
