//! Who holds a SKU: the rows of `variants`, one per SKU of the whole shop.
//!
//! | product | its variants | its claims |
//! |---|---|---|
//! | draft | set aside | none |
//! | published | the rows | the rows |
//! | withdrawn | set aside | the rows it still has: another product of the same seller may take them |
//!
//! Rows are locked in the order of their SKUs, and before them products in the order of their ids. So whoever
//! wants what others have waits and does not deadlock.

use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use crate::domain::{Product, State, Variant};
use crate::store::stored::StoredVariant;
use crate::store::{Result, StoreError};

/// Whose claims a product of this seller may take over.
macro_rules! yields {
    () => {
        "(holder.state = 'draft' OR (holder.state = 'withdrawn' AND holder.seller_id = $3))"
    };
}

/// Locks the product, and those that hold SKUs it wants, before anything is written.
pub(super) async fn lock_holders(tx: &mut PgConnection, product: &Product) -> Result<()> {
    if !product.is_published() {
        return Ok(());
    }
    sqlx::query(
        "SELECT FROM products WHERE id = $1 OR id IN (SELECT product_id FROM variants WHERE sku = ANY($2)) \
         ORDER BY id FOR UPDATE",
    )
    .bind(product.id)
    .bind(product.skus().collect::<Vec<_>>())
    .execute(&mut *tx)
    .await?;
    sqlx::query("SELECT FROM variants WHERE product_id = $1 OR sku = ANY($2) ORDER BY sku FOR UPDATE")
        .bind(product.id)
        .bind(product.skus().collect::<Vec<_>>())
        .execute(tx)
        .await?;
    Ok(())
}

/// Writes the variants of the product's new version where they belong, and notes on them what was claimed.
pub(super) async fn write(tx: &mut PgConnection, product: &mut Product) -> Result<()> {
    match product.state {
        State::Published => {
            claim(tx, product).await?;
            give_up_others(tx, product).await
        }
        State::Draft | State::Withdrawn => {
            give_up_others(tx, product).await?;
            keep_claims(tx, product).await?;
            set_aside(tx, product).await
        }
    }
}

/// Claims the SKUs for the product. Reports all of those that another product has.
async fn claim(tx: &mut PgConnection, product: &mut Product) -> Result<()> {
    make_room(tx, product).await?;
    let variants = &product.content.variants;
    let mut order: Vec<usize> = (0..variants.len()).collect();
    order.sort_by_key(|&i| &variants[i].sku);
    let in_order = || order.iter().map(|&i| &variants[i]);
    // A product that comes back has claimed again: order has to follow it, and not one that had the SKU in
    // between.
    let claimed: Vec<(String, i64)> = sqlx::query_as(
        "INSERT INTO variants (sku, product_id, place, price, quantity, options, counted_in) \
         SELECT sku, $1, place, price, quantity, options, counted_in \
         FROM UNNEST($2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::jsonb[], $7::bigint[]) \
             AS wanted (sku, place, price, quantity, options, counted_in) \
         ON CONFLICT (sku) DO UPDATE SET place = excluded.place, price = excluded.price, \
             quantity = excluded.quantity, options = excluded.options, counted_in = excluded.counted_in, \
             claim = CASE WHEN $8 THEN greatest(excluded.claim, variants.claim + 1) ELSE variants.claim END \
         WHERE variants.product_id = excluded.product_id \
         RETURNING sku, claim",
    )
    .bind(product.id)
    .bind(in_order().map(|variant| variant.sku.as_str()).collect::<Vec<_>>())
    .bind(order.iter().map(|&i| i32::try_from(i).unwrap_or(i32::MAX)).collect::<Vec<_>>())
    .bind(in_order().map(|variant| variant.price).collect::<Vec<_>>())
    .bind(in_order().map(|variant| variant.quantity).collect::<Vec<_>>())
    .bind(in_order().map(|variant| Json(&variant.options)).collect::<Vec<_>>())
    .bind(in_order().map(|variant| variant.counted_in).collect::<Vec<_>>())
    .bind(was_set_aside(tx, product.id).await?)
    .fetch_all(&mut *tx)
    .await?;
    note_claims(product, &claimed);
    let taken: Vec<String> = product
        .content
        .variants
        .iter()
        .filter(|variant| variant.claim.is_none())
        .map(|variant| variant.sku.clone())
        .collect();
    if !taken.is_empty() {
        return Err(StoreError::SkusTaken(taken));
    }
    sqlx::query("UPDATE products SET set_aside = NULL, set_aside_version = NULL WHERE id = $1")
        .bind(product.id)
        .execute(tx)
        .await?;
    Ok(())
}

/// Removes the claims that have to yield to this product. A product that loses some keeps its variants.
async fn make_room(tx: &mut PgConnection, product: &Product) -> Result<()> {
    let skus: Vec<&str> = product.skus().collect();
    let holders: Vec<Uuid> = sqlx::query_scalar(concat!(
        "SELECT DISTINCT holder.id FROM variants JOIN products AS holder ON holder.id = product_id \
         WHERE sku = ANY($2) AND holder.id <> $1 AND ",
        yields!()
    ))
    .bind(product.id)
    .bind(&skus)
    .bind(product.seller_id)
    .fetch_all(&mut *tx)
    .await?;
    if holders.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE products SET set_aside_version = version, set_aside = \
             (SELECT jsonb_agg(jsonb_build_object('sku', v.sku, 'price', v.price, 'quantity', v.quantity, \
                  'options', v.options, 'counted_in', v.counted_in) ORDER BY v.place) \
              FROM variants v WHERE v.product_id = products.id) \
         WHERE id = ANY($1) AND set_aside_version IS DISTINCT FROM version",
    )
    .bind(&holders)
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM variants WHERE product_id = ANY($1) AND sku = ANY($2)")
        .bind(&holders)
        .bind(&skus)
        .execute(tx)
        .await?;
    Ok(())
}

/// Whether the product was not published before: then this version has to claim.
async fn was_set_aside(tx: &mut PgConnection, id: Uuid) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT set_aside IS NOT NULL FROM products WHERE id = $1")
        .bind(id)
        .fetch_one(tx)
        .await?)
}

/// Gives up the SKUs that the product no longer lists; a draft gives up all of them.
async fn give_up_others(tx: &mut PgConnection, product: &Product) -> Result<()> {
    let kept: Vec<&str> = if product.state == State::Draft { Vec::new() } else { product.skus().collect() };
    sqlx::query("DELETE FROM variants WHERE product_id = $1 AND NOT sku = ANY($2)")
        .bind(product.id)
        .bind(kept)
        .execute(tx)
        .await?;
    Ok(())
}

/// Notes which claims a withdrawn product still has.
async fn keep_claims(tx: &mut PgConnection, product: &mut Product) -> Result<()> {
    let claimed: Vec<(String, i64)> = sqlx::query_as("SELECT sku, claim FROM variants WHERE product_id = $1")
        .bind(product.id)
        .fetch_all(tx)
        .await?;
    note_claims(product, &claimed);
    Ok(())
}

fn note_claims(product: &mut Product, claimed: &[(String, i64)]) {
    for variant in &mut product.content.variants {
        variant.claim = claimed.iter().find(|(sku, _)| *sku == variant.sku).map(|(_, claim)| *claim);
    }
}

/// Keeps the variants in the product's row.
pub(super) async fn set_aside(tx: &mut PgConnection, product: &Product) -> Result<()> {
    let variants: Vec<StoredVariant> = product.content.variants.iter().map(StoredVariant::from).collect();
    sqlx::query("UPDATE products SET set_aside = $2, set_aside_version = version WHERE id = $1")
        .bind(product.id)
        .bind(Json(variants))
        .execute(tx)
        .await?;
    Ok(())
}

/// The variants of a row, in order.
pub(super) fn variants(stored: Vec<StoredVariant>) -> Vec<Variant> {
    stored.into_iter().map(Variant::from).collect()
}
