//! SKUs as the catalog published them, and the standing stock behind them.

use std::collections::BTreeMap;

use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use crate::domain::sale::KnownSku;
use crate::events::{ProductChanged, Variant};

/// A SKU for whoever plans a sale of it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Sku {
    pub sku: String,
    pub product_id: Uuid,
    pub seller_id: Uuid,
    pub title: String,
    pub state: String,
    /// Minor units of `currency`.
    pub price: i64,
    pub currency: String,
    /// Units on hand that no sale has been allotted and no buyer of ordinary stock holds.
    pub available: i64,
}

/// Those of `skus` that the catalog published at some time.
pub async fn find(pool: &PgPool, skus: &[String]) -> sqlx::Result<Vec<Sku>> {
    sqlx::query_as(
        "SELECT sku, product_id, seller_id, title, state, price, currency,
             on_hand - allocated - held_on_shelf(sku) AS available
         FROM skus JOIN stock USING (sku) WHERE sku = ANY($1) ORDER BY sku",
    )
    .bind(skus)
    .fetch_all(pool)
    .await
}

/// The same for planning inside a transaction: their stock is locked until it ends.
pub async fn lock(tx: &mut PgConnection, skus: &[String]) -> sqlx::Result<BTreeMap<String, KnownSku>> {
    let rows: Vec<(String, String, String, i64)> = sqlx::query_as(
        "SELECT sku, state, currency, on_hand - allocated - held_on_shelf(sku)
         FROM stock JOIN skus USING (sku) WHERE sku = ANY($1) ORDER BY sku FOR UPDATE OF stock",
    )
    .bind(skus)
    .fetch_all(tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(sku, state, currency, available)| {
            (sku, KnownSku { published: state == "published", currency, available })
        })
        .collect())
}

/// Promises `units` of each SKU to a sale (or takes a promise back, if negative).
pub async fn allocate(tx: &mut PgConnection, units: &BTreeMap<String, i64>) -> sqlx::Result<()> {
    let (skus, units): (Vec<&str>, Vec<i64>) =
        units.iter().filter(|(_, units)| **units != 0).map(|(sku, units)| (sku.as_str(), *units)).unzip();
    if skus.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "WITH wanted AS (
             SELECT * FROM unnest($1::text[], $2::bigint[]) AS wanted (sku, units)
         ), locked AS (
             SELECT wanted.* FROM stock JOIN wanted USING (sku) ORDER BY stock.sku FOR UPDATE OF stock
         )
         UPDATE stock SET allocated = stock.allocated + locked.units
         FROM locked WHERE stock.sku = locked.sku",
    )
    .bind(skus)
    .bind(units)
    .execute(tx)
    .await?;
    Ok(())
}

/// Follows a change of a product: what it sells, for how much, and how many the seller supplies.
///
/// Older versions than the one known are ignored. The number supplied changes the stock by its
/// difference to the number supplied before. Units that are on a shelf or promised already cannot be
/// taken away here: such a change is recorded, and followed as soon as units are free
/// ([`standing`](super::standing)).
pub async fn follow(tx: &mut PgConnection, product: &ProductChanged) -> sqlx::Result<()> {
    let mut variants: Vec<&Variant> = product.variants.iter().collect();
    variants.sort_by(|a, b| a.sku.cmp(&b.sku));
    for variant in &variants {
        follow_variant(tx, product, variant).await?;
    }
    let listed: Vec<&str> = variants.iter().map(|variant| variant.sku.as_str()).collect();
    sqlx::query(
        "UPDATE skus SET state = 'withdrawn', version = $2, updated_at = now(), unsettled = true
         WHERE product_id = $1 AND version < $2 AND NOT sku = ANY($3)",
    )
    .bind(product.product_id)
    .bind(product.version)
    .bind(listed)
    .execute(tx)
    .await?;
    Ok(())
}

/// Follows the deletion of a product: its SKUs cannot go on sale any more. Stock stays, and so do
/// promises.
pub async fn withdraw(tx: &mut PgConnection, product_id: Uuid) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE skus SET state = 'withdrawn', updated_at = now(), unsettled = true WHERE product_id = $1",
    )
    .bind(product_id)
    .execute(tx)
    .await?;
    Ok(())
}

async fn follow_variant(
    tx: &mut PgConnection,
    product: &ProductChanged,
    variant: &Variant,
) -> sqlx::Result<()> {
    // Stock before its SKU, as everybody: freed stock touches its SKU.
    let known: Option<(Uuid, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT product_id, version, supplied, on_hand - allocated, shelved
         FROM stock JOIN skus USING (sku) WHERE sku = $1 FOR UPDATE OF stock",
    )
    .bind(&variant.sku)
    .fetch_optional(&mut *tx)
    .await?;
    let (supplied, available, shelved) = match known {
        None => (0, 0, 0),
        Some((owner, ..)) if owner != product.product_id => {
            tracing::warn!(sku = variant.sku, %owner, product = %product.product_id, "SKU belongs to another product");
            metrics::counter!("order_sku_conflicts_total").increment(1);
            return Ok(());
        }
        Some((_, version, ..)) if version >= product.version => return Ok(()),
        Some((_, _, supplied, available, shelved)) => (supplied, available, shelved),
    };
    let change = variant.quantity - supplied;
    let not_yet = change < -(available - shelved);
    if change < -available {
        tracing::warn!(
            sku = variant.sku,
            wanted = variant.quantity,
            supplied,
            available,
            "refused to take away units that are promised to a sale"
        );
        metrics::counter!("order_supply_refused_total").increment(1);
    }
    let change = if not_yet { 0 } else { change };
    sqlx::query(
        "INSERT INTO skus (sku, product_id, seller_id, title, state, price, currency, supplied, refused_supply, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (sku) DO UPDATE SET
             seller_id = excluded.seller_id, title = excluded.title, state = excluded.state,
             price = excluded.price, currency = excluded.currency, supplied = excluded.supplied,
             refused_supply = excluded.refused_supply, version = excluded.version, updated_at = now(),
             unsettled = true",
    )
    .bind(&variant.sku)
    .bind(product.product_id)
    .bind(product.seller_id)
    .bind(&product.title)
    .bind(product.state.as_str())
    .bind(variant.price)
    .bind(&product.currency)
    .bind(supplied + change)
    .bind(not_yet.then_some(variant.quantity))
    .bind(product.version)
    .execute(&mut *tx)
    .await?;
    // Not an upsert: PostgreSQL checks the row to be inserted first, and a change may be negative.
    let query = if known.is_some() {
        sqlx::query("UPDATE stock SET on_hand = on_hand + $2 WHERE sku = $1")
    } else {
        sqlx::query("INSERT INTO stock (sku, on_hand) VALUES ($1, $2)")
    };
    query.bind(&variant.sku).bind(change).execute(tx).await?;
    Ok(())
}
