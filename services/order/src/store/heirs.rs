//! Products that took over a SKU from another seller while units of it are still promised or on offer.
//!
//! Those promises belong to the other seller, so the two are never counted together. The old product sells
//! no more. The new one follows when the last unit of the old one is paid for, is given back, or has left
//! its shelf. A seller's own new product need not wait ([`skus`]).

use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::skus;
use crate::events::{ProductSnapshot, VariantSnapshot};

/// How many products may follow in one pass.
const AT_ONCE: i64 = 200;

/// Notes that this product waits for its SKU. When several wait, the last one to claim it counts.
pub(super) async fn wait(
    tx: &mut PgConnection,
    product: &ProductSnapshot,
    variant: &VariantSnapshot,
    claim: i64,
) -> sqlx::Result<()> {
    let product = ProductSnapshot { variants: vec![variant.clone()], ..product.clone() };
    sqlx::query(
        "INSERT INTO sku_heirs AS heir (sku, product_id, version, claim, product) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (sku) DO UPDATE SET product_id = excluded.product_id, version = excluded.version,
             claim = excluded.claim, product = excluded.product
         WHERE (heir.claim, heir.version) < (excluded.claim, excluded.version)",
    )
    .bind(&variant.sku)
    .bind(product.product_id)
    .bind(product.version)
    .bind(claim)
    .bind(Json(&product))
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE skus SET state = 'withdrawn', updated_at = now(), unsettled = true WHERE sku = $1")
        .bind(&variant.sku)
        .execute(tx)
        .await?;
    tracing::info!(sku = variant.sku, product = %product.product_id, "a SKU waits for what another seller promised");
    Ok(())
}

/// Forgets what this product waits for, as reported before `version`.
pub(super) async fn forget(tx: &mut PgConnection, product_id: Uuid, version: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM sku_heirs WHERE product_id = $1 AND version < $2")
        .bind(product_id)
        .bind(version)
        .execute(tx)
        .await?;
    Ok(())
}

/// Forgets who waits for a SKU that somebody else has claimed since, or that is now being given to it.
pub(super) async fn outdate(tx: &mut PgConnection, sku: &str, claim: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM sku_heirs WHERE sku = $1 AND claim <= $2")
        .bind(sku)
        .bind(claim)
        .execute(tx)
        .await?;
    Ok(())
}

/// Lets products follow once nobody holds a promise of their SKU any more.
pub async fn let_in(pool: &PgPool) -> sqlx::Result<()> {
    let mut tx = pool.begin().await?;
    let waiting: Vec<Json<ProductSnapshot>> = sqlx::query_scalar(
        "SELECT product FROM sku_heirs JOIN stock USING (sku) WHERE allocated = 0 AND shelved = 0
         ORDER BY sku LIMIT $1 FOR UPDATE SKIP LOCKED",
    )
    .bind(AT_ONCE)
    .fetch_all(&mut *tx)
    .await?;
    for Json(product) in &waiting {
        for variant in &product.variants {
            skus::follow_variant(&mut tx, product, variant).await?;
        }
    }
    tx.commit().await
}
