//! SKUs as the catalog published them, and the standing stock behind them.

use std::collections::BTreeMap;

use rocketmart_contracts::event::ProductState;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::heirs;
use crate::domain::sale::KnownSku;
use crate::domain::supply::{Books, Said};
use crate::events::{ProductSnapshot, VariantSnapshot};

/// A SKU as somebody who plans a sale of it needs it.
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
    /// Units on hand that are allotted to no sale and held by no buyer of ordinary stock.
    pub available: i64,
}

/// Those of `skus` that the catalog has published at some time.
pub async fn find(pool: &PgPool, skus: &[String]) -> sqlx::Result<Vec<Sku>> {
    sqlx::query_as(
        "SELECT sku, product_id, seller_id, title, state, price, currency,
             greatest(on_hand - allocated - held_on_shelf(sku) - surplus, 0) AS available
         FROM skus JOIN stock USING (sku) WHERE sku = ANY($1) ORDER BY sku",
    )
    .bind(skus)
    .fetch_all(pool)
    .await
}

/// The same, for planning inside a transaction: their stock is locked until it ends.
pub async fn lock(tx: &mut PgConnection, skus: &[String]) -> sqlx::Result<BTreeMap<String, KnownSku>> {
    let rows: Vec<(String, String, String, i64)> = sqlx::query_as(
        "SELECT sku, state, currency, greatest(on_hand - allocated - held_on_shelf(sku) - surplus, 0)
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

/// Follows a change of a product: what it sells, for how much, and how many units its seller has.
///
/// A SKU follows the product that took it last. For that product, we ignore versions older than the known
/// one. We do not compare versions of two products. A draft sells nothing and takes nothing.
/// versions of two products are not compared. A draft sells nothing and takes nothing.
pub async fn follow(tx: &mut PgConnection, product: &ProductSnapshot) -> sqlx::Result<()> {
    heirs::forget(tx, product.product_id, product.version).await?;
    if product.state == ProductState::Draft {
        return Ok(());
    }
    let mut variants: Vec<&VariantSnapshot> = product.variants.iter().collect();
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

/// Follows the deletion of a product: its SKUs cannot go on sale until another product takes them. Stock
/// stays, and so do promises.
pub async fn withdraw(tx: &mut PgConnection, product_id: Uuid) -> sqlx::Result<()> {
    heirs::forget(tx, product_id, i64::MAX).await?;
    sqlx::query(
        "UPDATE skus SET state = 'withdrawn', updated_at = now(), unsettled = true WHERE product_id = $1",
    )
    .bind(product_id)
    .execute(tx)
    .await?;
    Ok(())
}

/// A SKU as it is known, with its stock locked.
#[derive(FromRow)]
struct Known {
    product_id: Uuid,
    seller_id: Uuid,
    version: i64,
    claim: i64,
    on_hand: i64,
    allocated: i64,
    shelved: i64,
    /// Of those on shelves, the units that buyers hold.
    held: i64,
    surplus: i64,
    told: i64,
    counted_in: i64,
}

impl Known {
    fn books(&self) -> Books {
        Books {
            on_hand: self.on_hand,
            unoffered: self.on_hand - self.allocated - self.shelved,
            surplus: self.surplus,
            told: self.told,
            counted_in: self.counted_in,
        }
    }

    /// None of it is on offer or promised.
    fn is_free(&self) -> bool {
        self.allocated == 0 && self.shelved == 0
    }
}

pub(super) async fn follow_variant(
    tx: &mut PgConnection,
    product: &ProductSnapshot,
    variant: &VariantSnapshot,
) -> sqlx::Result<()> {
    let said = Said { quantity: variant.quantity, counted_in: variant.counted_in };
    let claim = variant.claim.unwrap_or_default();
    let Some(known) = find_locked(tx, &variant.sku).await? else {
        let books = Books::default().hand_over(said, 0);
        put(tx, product, variant, claim, books).await?;
        sqlx::query("INSERT INTO stock (sku, on_hand) VALUES ($1, $2)")
            .bind(&variant.sku)
            .bind(books.on_hand)
            .execute(tx)
            .await?;
        return Ok(());
    };
    let (books, claim) = if known.product_id == product.product_id {
        if known.version >= product.version {
            return Ok(());
        }
        (known.books().follow(said), claim.max(known.claim))
    } else if product.state != ProductState::Published || claim <= known.claim {
        // Another product has since taken the SKU, or this one never had it: late news, or a catalog that
        // knew no claims.
        tracing::debug!(sku = variant.sku, product = %product.product_id, "SKU belongs to another product");
        return Ok(());
    } else if known.seller_id == product.seller_id || known.is_free() {
        (known.books().hand_over(said, known.allocated + known.held), claim)
    } else {
        return heirs::wait(tx, product, variant, claim).await;
    };
    heirs::outdate(tx, &variant.sku, claim).await?;
    put(tx, product, variant, claim, books).await?;
    sqlx::query("UPDATE stock SET on_hand = $2 WHERE sku = $1")
        .bind(&variant.sku)
        .bind(books.on_hand)
        .execute(tx)
        .await?;
    Ok(())
}

/// Locks the stock before its SKU, as everybody does, because freeing stock touches its SKU. What an
/// earlier version refused to take away, and noted, counts as surplus.
async fn find_locked(tx: &mut PgConnection, sku: &str) -> sqlx::Result<Option<Known>> {
    sqlx::query_as(
        "SELECT product_id, seller_id, version, claim, on_hand, allocated, shelved, held_on_shelf(sku) AS held,
             surplus + greatest(supplied - coalesce(refused_supply, supplied), 0) AS surplus,
             coalesce(refused_supply, supplied) AS told, counted_in
         FROM stock JOIN skus USING (sku) WHERE sku = $1 FOR UPDATE OF stock",
    )
    .bind(sku)
    .fetch_optional(tx)
    .await
}

/// A product that others wait for sells no more, whatever late news says.
async fn put(
    tx: &mut PgConnection,
    product: &ProductSnapshot,
    variant: &VariantSnapshot,
    claim: i64,
    books: Books,
) -> sqlx::Result<()> {
    if books.surplus > 0 {
        tracing::warn!(
            sku = variant.sku,
            wanted = variant.quantity,
            surplus = books.surplus,
            "units that are promised or on offer cannot be taken away at once"
        );
        metrics::counter!("order_supply_refused_total").increment(1);
    }
    sqlx::query(
        "INSERT INTO skus (sku, product_id, seller_id, title, state, price, currency, supplied, counted_in, surplus,
             claim, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (sku) DO UPDATE SET
             product_id = excluded.product_id, seller_id = excluded.seller_id, title = excluded.title,
             state = CASE WHEN EXISTS (SELECT FROM sku_heirs WHERE sku_heirs.sku = excluded.sku)
                 THEN 'withdrawn' ELSE excluded.state END,
             price = excluded.price, currency = excluded.currency, supplied = excluded.supplied,
             counted_in = excluded.counted_in, surplus = excluded.surplus, refused_supply = NULL,
             claim = excluded.claim, version = excluded.version, updated_at = now(), unsettled = true",
    )
    .bind(&variant.sku)
    .bind(product.product_id)
    .bind(product.seller_id)
    .bind(&product.title)
    .bind(product.state.as_str())
    .bind(variant.price)
    .bind(&product.currency)
    .bind(books.told)
    .bind(books.counted_in)
    .bind(books.surplus)
    .bind(claim)
    .bind(product.version)
    .execute(tx)
    .await?;
    Ok(())
}
