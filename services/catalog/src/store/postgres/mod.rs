//! Products in PostgreSQL.
//!
//! [`skus`] writes their variants and who holds which SKU.
//!
//! A product's own conditional UPDATE or DELETE locks its row, so the events of one product enter the outbox
//! in the order of its versions. Lists walk an index from where the previous page ended.

mod skus;

use async_trait::async_trait;
use axum::response::Response;
use rocketmart_kit::event::Event;
use rocketmart_kit::{idempotency, outbox, problem};
use sqlx::migrate::Migrator;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::refusal;
use super::stored::StoredVariant;
use super::{
    Answer, Changed, Listing, Mark, MarkKind, MarkPlace, Once, ProductStore, Result, Step, StoreError,
};
use crate::domain::{Content, Product, State};
use crate::events;

/// The route under which answers to creations are stored.
const CREATION: &str = "POST /api/v1/products";
/// The route under which answers to changes are stored, with the product's id.
const CHANGE: &str = "POST /api/v1/products/{id}/stock-adjustments";
/// How many products one transaction publishes again, and locks.
const TOLD_AT_ONCE: i64 = 500;

pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

pub struct PostgresStore {
    pool: PgPool,
}

impl PostgresStore {
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

/// `SELECT` of whole products, variants included; the tail narrows and orders it.
macro_rules! select_products {
    ($tail:literal) => {
        concat!(
            "SELECT p.id, p.seller_id, p.version, p.state, p.title, p.description, p.currency, p.categories, \
             p.tags, p.pictures, p.likes, p.created_at, p.updated_at, \
             CASE WHEN p.set_aside_version = p.version THEN p.set_aside ELSE \
             (SELECT jsonb_agg(jsonb_build_object('sku', v.sku, 'price', v.price, 'quantity', v.quantity, \
                                                  'options', v.options, 'claim', v.claim, \
                                                  'counted_in', v.counted_in) ORDER BY v.place) \
              FROM variants v WHERE v.product_id = p.id) END AS variants \
             FROM products p ",
            $tail
        )
    };
}

#[derive(sqlx::FromRow)]
struct ProductRow {
    id: Uuid,
    seller_id: Uuid,
    version: i64,
    state: String,
    title: String,
    description: String,
    currency: String,
    categories: Vec<String>,
    tags: Vec<String>,
    pictures: Vec<String>,
    likes: i64,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    variants: Json<Vec<StoredVariant>>,
}

impl TryFrom<ProductRow> for Product {
    type Error = sqlx::Error;

    fn try_from(row: ProductRow) -> Result<Self, sqlx::Error> {
        let state = State::parse(&row.state)
            .ok_or_else(|| sqlx::Error::Decode(format!("unknown product state {:?}", row.state).into()))?;
        Ok(Self {
            id: row.id,
            seller_id: row.seller_id,
            version: row.version,
            state,
            content: Content {
                title: row.title,
                description: row.description,
                currency: row.currency,
                categories: row.categories,
                tags: row.tags,
                pictures: row.pictures,
                variants: skus::variants(row.variants.0),
            },
            likes: row.likes,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

fn products(rows: Vec<ProductRow>) -> Result<Vec<Product>> {
    rows.into_iter().map(|row| Product::try_from(row).map_err(StoreError::from)).collect()
}

#[async_trait]
impl ProductStore for PostgresStore {
    async fn create(&self, product: Product, once: Once, answer: Answer) -> problem::Result<Response> {
        idempotency::once(&self.pool, once.owner, CREATION, &once.key, once.request_hash, move |connection| {
            Box::pin(async move {
                let outcome = insert(connection, &product).await;
                answer(product, outcome)
            })
        })
        .await
    }

    async fn find(&self, id: Uuid) -> Result<Option<Product>> {
        let row: Option<ProductRow> =
            sqlx::query_as(select_products!("WHERE p.id = $1")).bind(id).fetch_optional(&self.pool).await?;
        Ok(row.map(Product::try_from).transpose()?)
    }

    async fn replace(&self, product: &Product) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        replace(&mut tx, product).await?;
        Ok(tx.commit().await?)
    }

    async fn change_once(
        &self,
        id: Uuid,
        once: Once,
        step: Step,
        answer: Changed,
    ) -> problem::Result<Response> {
        let route = format!("{CHANGE} {id}");
        idempotency::once(&self.pool, once.owner, &route, &once.key, once.request_hash, move |connection| {
            Box::pin(async move {
                let product = step(lock(connection, id).await.map_err(refusal)?)?;
                replace(connection, &product).await.map_err(refusal)?;
                Ok(answer(product))
            })
        })
        .await
    }

    async fn delete(&self, id: Uuid, version: i64) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        let deleted = sqlx::query("DELETE FROM products WHERE id = $1 AND version = $2")
            .bind(id)
            .bind(version)
            .execute(&mut *tx)
            .await?
            .rows_affected();
        if deleted == 0 {
            return Err(missing_or_changed(&mut tx, id).await?);
        }
        announce(&mut tx, events::deleted(id)).await?;
        Ok(tx.commit().await?)
    }

    async fn tell_all(&self) -> Result<u64> {
        let (mut told, mut after) = (0, Uuid::nil());
        loop {
            let mut tx = self.pool.begin().await?;
            // Lock first, then read: a statement that waits for a lock sees the row as it has become, but the
            // variants as they were.
            let ids: Vec<Uuid> = sqlx::query_scalar(
                "SELECT id FROM products WHERE id > $1 ORDER BY id LIMIT $2 FOR NO KEY UPDATE",
            )
            .bind(after)
            .bind(TOLD_AT_ONCE)
            .fetch_all(&mut *tx)
            .await?;
            let Some(last) = ids.last() else { return Ok(told) };
            after = *last;
            let rows = sqlx::query_as(select_products!("WHERE p.id = ANY($1)"))
                .bind(&ids)
                .fetch_all(&mut *tx)
                .await?;
            let events: Vec<Event> = products(rows)?.iter().map(events::changed).collect();
            outbox::put(&mut tx, events::PRODUCTS, &events).await?;
            tx.commit().await?;
            told += events.len() as u64;
        }
    }

    async fn list(&self, listing: Listing, after: Option<Uuid>, count: u32) -> Result<Vec<Product>> {
        // Ids are UUID version 7: greater is newer, and nothing is newer than the greatest.
        let before = after.unwrap_or(Uuid::max());
        let rows = match listing {
            Listing::Published => {
                sqlx::query_as(select_products!(
                    "WHERE p.state = 'published' AND p.id < $1 ORDER BY p.id DESC LIMIT $2"
                ))
                .bind(before)
                .bind(i64::from(count))
                .fetch_all(&self.pool)
                .await?
            }
            Listing::OfSeller(seller) => {
                sqlx::query_as(select_products!(
                    "WHERE p.seller_id = $3 AND p.id < $1 ORDER BY p.id DESC LIMIT $2"
                ))
                .bind(before)
                .bind(i64::from(count))
                .bind(seller)
                .fetch_all(&self.pool)
                .await?
            }
        };
        products(rows)
    }

    async fn mark(&self, kind: MarkKind, member: Uuid, product_id: Uuid, at: OffsetDateTime) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        // The lock keeps the product from being deleted under the mark; it does not hold up readers.
        let is_published: Option<bool> =
            sqlx::query_scalar("SELECT state = 'published' FROM products WHERE id = $1 FOR NO KEY UPDATE")
                .bind(product_id)
                .fetch_optional(&mut *tx)
                .await?;
        if is_published != Some(true) {
            return Err(StoreError::Unknown);
        }
        let added = sqlx::query(
            "INSERT INTO marks (kind, member_id, product_id, marked_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        )
        .bind(kind.as_str())
        .bind(member)
        .bind(product_id)
        .bind(at)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if kind == MarkKind::Like && added > 0 {
            count_like(&mut tx, product_id, 1).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn unmark(&self, kind: MarkKind, member: Uuid, product_id: Uuid) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        // The product first, as everywhere, so that no two transactions deadlock.
        sqlx::query("SELECT 1 FROM products WHERE id = $1 FOR NO KEY UPDATE")
            .bind(product_id)
            .execute(&mut *tx)
            .await?;
        let removed = sqlx::query("DELETE FROM marks WHERE kind = $1 AND member_id = $2 AND product_id = $3")
            .bind(kind.as_str())
            .bind(member)
            .bind(product_id)
            .execute(&mut *tx)
            .await?
            .rows_affected();
        if kind == MarkKind::Like && removed > 0 {
            count_like(&mut tx, product_id, -1).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn marks(
        &self,
        kind: MarkKind,
        member: Uuid,
        after: Option<MarkPlace>,
        count: u32,
    ) -> Result<Vec<Mark>> {
        let places: Vec<(OffsetDateTime, Uuid)> = sqlx::query_as(
            "SELECT marked_at, product_id FROM marks WHERE kind = $1 AND member_id = $2 \
             AND ($3::timestamptz IS NULL OR (marked_at, product_id) < ($3, $4)) \
             ORDER BY marked_at DESC, product_id DESC LIMIT $5",
        )
        .bind(kind.as_str())
        .bind(member)
        .bind(after.map(|place| place.marked_at))
        .bind(after.map(|place| place.product_id))
        .bind(i64::from(count))
        .fetch_all(&self.pool)
        .await?;
        let ids: Vec<Uuid> = places.iter().map(|(_, product_id)| *product_id).collect();
        let rows = sqlx::query_as(select_products!("WHERE p.id = ANY($1) AND p.state = 'published'"))
            .bind(&ids)
            .fetch_all(&self.pool)
            .await?;
        let mut products: std::collections::HashMap<Uuid, Product> =
            products(rows)?.into_iter().map(|product| (product.id, product)).collect();
        let mark = |(marked_at, product_id)| Mark {
            place: MarkPlace { marked_at, product_id },
            product: products.remove(&product_id),
        };
        Ok(places.into_iter().map(mark).collect())
    }
}

async fn insert(tx: &mut PgConnection, product: &Product) -> Result<()> {
    let content = &product.content;
    sqlx::query(
        "INSERT INTO products (id, seller_id, version, state, title, description, currency, categories, tags, \
         pictures, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(product.id)
    .bind(product.seller_id)
    .bind(product.version)
    .bind(product.state.as_str())
    .bind(&content.title)
    .bind(&content.description)
    .bind(&content.currency)
    .bind(&content.categories)
    .bind(&content.tags)
    .bind(&content.pictures)
    .bind(product.created_at)
    .bind(product.updated_at)
    .execute(&mut *tx)
    .await?;
    skus::set_aside(tx, product).await?;
    announce(tx, events::changed(product)).await
}

/// The current product, locked until the transaction ends.
async fn lock(tx: &mut PgConnection, id: Uuid) -> Result<Product> {
    // Lock first, then read: see `tell_all`.
    sqlx::query("SELECT FROM products WHERE id = $1 FOR UPDATE").bind(id).execute(&mut *tx).await?;
    let row: Option<ProductRow> =
        sqlx::query_as(select_products!("WHERE p.id = $1")).bind(id).fetch_optional(tx).await?;
    Ok(Product::try_from(row.ok_or(StoreError::Unknown)?)?)
}

/// Replaces the version before `product`'s, and stores its event.
async fn replace(tx: &mut PgConnection, product: &Product) -> Result<()> {
    skus::lock_holders(tx, product).await?;
    let content = &product.content;
    let replaced = sqlx::query(
        "UPDATE products SET version = $2, state = $3, title = $4, description = $5, currency = $6, \
         categories = $7, tags = $8, pictures = $9, updated_at = $10 WHERE id = $1 AND version = $2 - 1",
    )
    .bind(product.id)
    .bind(product.version)
    .bind(product.state.as_str())
    .bind(&content.title)
    .bind(&content.description)
    .bind(&content.currency)
    .bind(&content.categories)
    .bind(&content.tags)
    .bind(&content.pictures)
    .bind(product.updated_at)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if replaced == 0 {
        return Err(missing_or_changed(tx, product.id).await?);
    }
    let mut product = product.clone();
    skus::write(tx, &mut product).await?;
    announce(tx, events::changed(&product)).await?;
    Ok(())
}

/// Why a conditional write found no row.
async fn missing_or_changed(tx: &mut PgConnection, id: Uuid) -> Result<StoreError> {
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM products WHERE id = $1)")
        .bind(id)
        .fetch_one(tx)
        .await?;
    Ok(if exists { StoreError::VersionConflict } else { StoreError::Unknown })
}

async fn count_like(tx: &mut PgConnection, product_id: Uuid, change: i64) -> Result<()> {
    sqlx::query("UPDATE products SET likes = likes + $2 WHERE id = $1")
        .bind(product_id)
        .bind(change)
        .execute(tx)
        .await?;
    Ok(())
}

async fn announce(tx: &mut PgConnection, event: Event) -> Result<()> {
    Ok(outbox::put(tx, events::PRODUCTS, &[event]).await?)
}
