//! Carts. Whoever changes a cart holds its lock, so that its lines can be counted.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row as _};
use uuid::Uuid;

use super::clock::ms;
use super::column;
use crate::domain::cart::{CartLine, OnOffer, Price};

/// Waits until nobody else changes this cart. The lock lasts until the transaction ends.
pub async fn lock(tx: &mut PgConnection, buyer: Uuid) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('cart ' || $1::uuid::text, 0))")
        .bind(buyer)
        .execute(tx)
        .await?;
    Ok(())
}

/// The lines of a cart, in the order in which the buyer chose them.
pub async fn lines(executor: impl PgExecutor<'_>, buyer: Uuid) -> sqlx::Result<Vec<CartLine>> {
    let rows = sqlx::query(
        "SELECT * FROM cart_lines JOIN offers USING (sku) WHERE buyer_id = $1 ORDER BY added_at, sku",
    )
    .bind(buyer)
    .fetch_all(executor)
    .await?;
    rows.iter().map(read).collect()
}

/// Prices of those of `skus` that are for sale now.
pub async fn prices(tx: &mut PgConnection, skus: &[&str]) -> sqlx::Result<Vec<(String, Price)>> {
    let rows = sqlx::query("SELECT * FROM offers WHERE published AND sku = ANY($1)")
        .bind(skus)
        .fetch_all(tx)
        .await?;
    rows.iter().map(|row| Ok((row.try_get("sku")?, price(row)?))).collect()
}

/// A line to be written.
#[derive(Clone, Debug)]
pub struct NewLine {
    pub sku: String,
    pub quantity: i64,
    pub seen: Price,
}

/// Writes lines; they are new, or replace lines of the same SKU.
pub async fn put(tx: &mut PgConnection, buyer: Uuid, lines: &[NewLine]) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO cart_lines (buyer_id, sku, quantity, seen_price, seen_currency)
         SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[])
         ON CONFLICT (buyer_id, sku) DO UPDATE SET quantity = excluded.quantity,
             seen_price = excluded.seen_price, seen_currency = excluded.seen_currency",
    )
    .bind(buyer)
    .bind(column(lines, |line| line.sku.as_str()))
    .bind(column(lines, |line| line.quantity))
    .bind(column(lines, |line| line.seen.amount))
    .bind(column(lines, |line| line.seen.currency.as_str()))
    .execute(tx)
    .await?;
    Ok(())
}

/// Removes lines, and returns how many there were.
pub async fn remove(executor: impl PgExecutor<'_>, buyer: Uuid, skus: &[&str]) -> sqlx::Result<u64> {
    let done = sqlx::query("DELETE FROM cart_lines WHERE buyer_id = $1 AND sku = ANY($2)")
        .bind(buyer)
        .bind(skus)
        .execute(executor)
        .await?;
    Ok(done.rows_affected())
}

fn price(row: &PgRow) -> sqlx::Result<Price> {
    Ok(Price { amount: row.try_get("price")?, currency: row.try_get("currency")? })
}

fn read(row: &PgRow) -> sqlx::Result<CartLine> {
    Ok(CartLine {
        sku: row.try_get("sku")?,
        quantity: row.try_get("quantity")?,
        seen: Price { amount: row.try_get("seen_price")?, currency: row.try_get("seen_currency")? },
        now: OnOffer {
            product_id: row.try_get("product_id")?,
            title: row.try_get("title")?,
            published: row.try_get("published")?,
            price: price(row)?,
            free: row.try_get("free")?,
        },
        added_at_ms: ms(row.try_get("added_at")?),
    })
}
