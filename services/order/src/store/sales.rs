//! Sales, their terms and their ledger.

use std::collections::HashMap;

use rocketmart_contracts::internal_api::{Item, SaleState};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::clock::{at, ms};
use super::unreadable;
use crate::domain::ledger::Counters;
use crate::domain::sale::Terms;

/// A sale as the books have it.
#[derive(Clone, Debug)]
pub struct Sale {
    pub id: Uuid,
    pub name: String,
    pub state: SaleState,
    pub currency: String,
    pub opens_at_ms: i64,
    pub closes_at_ms: i64,
    pub payment_seconds: i64,
    /// The highest fencing token seen.
    pub fence: i64,
    /// Whether Redis was ever read back equal to the terms.
    pub loaded: bool,
    /// Sorted by SKU.
    pub items: Vec<SaleItem>,
    /// Whether this is the ordinary stock, which has no end and no limits.
    pub standing: bool,
    /// The report of the close-out, once it has found no difference.
    pub close_out: Option<serde_json::Value>,
}

#[derive(Clone, Debug)]
pub struct SaleItem {
    pub sku: String,
    /// The product's title, as the catalog last published it.
    pub title: String,
    pub price: i64,
    pub per_buyer_limit: i64,
    pub ledger: Counters,
}

impl Sale {
    /// What this sale promises.
    pub fn terms(&self) -> Terms {
        let items = self.items.iter().map(|item| Item {
            sku: item.sku.clone(),
            units: item.ledger.preloaded,
            price: item.price,
            per_buyer_limit: item.per_buyer_limit,
        });
        Terms {
            name: self.name.clone(),
            currency: self.currency.clone(),
            opens_at_ms: self.opens_at_ms,
            closes_at_ms: self.closes_at_ms,
            payment_seconds: self.payment_seconds,
            items: items.collect(),
        }
    }
}

pub async fn find(pool: &PgPool, id: Uuid) -> sqlx::Result<Option<Sale>> {
    let mut connection = pool.acquire().await?;
    one(&mut connection, id).await
}

async fn one(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Sale>> {
    let row =
        sqlx::query("SELECT * FROM sales WHERE id = $1").bind(id).fetch_optional(&mut *connection).await?;
    Ok(with_items(connection, row.into_iter().collect()).await?.pop())
}

/// All sales with a window whose books are not signed off, however many there are, and the `finished`
/// latest of the others. Latest opening first.
pub async fn current(pool: &PgPool, finished: i64) -> sqlx::Result<Vec<Sale>> {
    let mut connection = pool.acquire().await?;
    let rows = sqlx::query(
        "SELECT * FROM sales WHERE NOT standing AND state <> 'closed_out'
         UNION ALL
         (SELECT * FROM sales WHERE NOT standing AND state = 'closed_out'
          ORDER BY opens_at DESC, id DESC LIMIT $1)
         ORDER BY opens_at DESC, id DESC",
    )
    .bind(finished)
    .fetch_all(&mut *connection)
    .await?;
    with_items(&mut connection, rows).await
}

/// Up to `limit` sales with a window, in the same order, after `after`.
pub async fn page(
    pool: &PgPool,
    after: Option<(OffsetDateTime, Uuid)>,
    limit: i64,
) -> sqlx::Result<Vec<Sale>> {
    let mut connection = pool.acquire().await?;
    let (opens_at, id) = after.unzip();
    let rows = sqlx::query(
        "SELECT * FROM sales WHERE NOT standing AND ($1::timestamptz IS NULL OR (opens_at, id) < ($1, $2))
         ORDER BY opens_at DESC, id DESC LIMIT $3",
    )
    .bind(opens_at)
    .bind(id)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    with_items(&mut connection, rows).await
}

/// The sale with a window and this name; when there are several, the one that opens last.
pub async fn named(pool: &PgPool, name: &str) -> sqlx::Result<Option<Sale>> {
    let mut connection = pool.acquire().await?;
    let row = sqlx::query(
        "SELECT * FROM sales WHERE name = $1 AND NOT standing ORDER BY opens_at DESC, id DESC LIMIT 1",
    )
    .bind(name)
    .fetch_optional(&mut *connection)
    .await?;
    Ok(with_items(&mut connection, row.into_iter().collect()).await?.pop())
}

/// The sales in which Redis may know this order: the one that SQL names or, if SQL has not heard of the
/// order yet, those whose ids end like the order's. Nearly always one, or none.
pub async fn places_of(pool: &PgPool, order: Uuid) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "SELECT sales.id FROM sales JOIN orders ON sale_id = sales.id
         WHERE orders.id = $1 AND loaded AND sales.state <> 'closed_out'
         UNION
         SELECT id FROM sales
         WHERE right(id::text, 4) = right($1::uuid::text, 4) AND loaded AND state <> 'closed_out'",
    )
    .bind(order)
    .fetch_all(pool)
    .await
}

/// Those of `sales` whose books are signed off.
pub async fn signed_off(pool: &PgPool, sales: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar("SELECT id FROM sales WHERE id = ANY($1) AND state = 'closed_out'")
        .bind(sales)
        .fetch_all(pool)
        .await
}

/// The sale, locked until the transaction ends, even if it does not exist yet: only one at a time may
/// change a sale. The ordinary stock is unknown here: nobody may change or close it as a sale.
pub async fn lock(tx: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Sale>> {
    Ok(lock_any(tx, id).await?.filter(|sale| !sale.standing))
}

/// The same, including the ordinary stock.
pub async fn lock_any(tx: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Sale>> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('sale ' || $1::uuid::text, 0))")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    one(tx, id).await
}

/// Writes the terms of a sale, new or extended. New units go on the shelf.
pub async fn save_terms(tx: &mut PgConnection, id: Uuid, fence: i64, terms: &Terms) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO sales (id, name, state, currency, opens_at, closes_at, payment_seconds, fence)
         VALUES ($1, $2, 'loading', $3, $4, $5, $6, $7)
         ON CONFLICT (id) DO UPDATE SET
             name = excluded.name, opens_at = excluded.opens_at, closes_at = excluded.closes_at,
             fence = excluded.fence
         WHERE NOT sales.standing",
    )
    .bind(id)
    .bind(&terms.name)
    .bind(&terms.currency)
    .bind(at(terms.opens_at_ms))
    .bind(at(terms.closes_at_ms))
    .bind(i32::try_from(terms.payment_seconds).unwrap_or(i32::MAX))
    .bind(fence)
    .execute(&mut *tx)
    .await?;
    let column = |of: fn(&Item) -> i64| terms.items.iter().map(of).collect::<Vec<_>>();
    sqlx::query(
        "INSERT INTO sale_items AS item (sale_id, sku, price, per_buyer_limit, preloaded, remaining)
         SELECT $1, sku, price, per_buyer_limit, units, units
         FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
             AS wanted (sku, price, per_buyer_limit, units)
         ORDER BY sku
         ON CONFLICT (sale_id, sku) DO UPDATE SET
             remaining = item.remaining + excluded.preloaded - item.preloaded,
             preloaded = excluded.preloaded",
    )
    .bind(id)
    .bind(terms.items.iter().map(|item| item.sku.as_str()).collect::<Vec<_>>())
    .bind(column(|item| item.price))
    .bind(column(|item| item.per_buyer_limit))
    .bind(column(|item| item.units))
    .execute(tx)
    .await?;
    Ok(())
}

/// Puts a sale into `state` and notes the fence that came with it.
pub async fn set_state(tx: &mut PgConnection, id: Uuid, fence: i64, state: SaleState) -> sqlx::Result<()> {
    sqlx::query("UPDATE sales SET state = $3, fence = $2 WHERE id = $1")
        .bind(id)
        .bind(fence)
        .bind(state.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

/// Notes that Redis was read back equal to the terms; a sale that was loading is now ready. `false` when a
/// higher fence came in between.
pub async fn set_loaded(pool: &PgPool, id: Uuid, fence: i64) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE sales SET loaded = true, state = CASE state WHEN 'loading' THEN 'ready' ELSE state END
         WHERE id = $1 AND fence = $2",
    )
    .bind(id)
    .bind(fence)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Signs the books off.
pub async fn close_out(
    tx: &mut PgConnection,
    id: Uuid,
    fence: i64,
    report: &serde_json::Value,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE sales SET state = 'closed_out', fence = $2, close_out = $3, closed_out_at = now() WHERE id = $1",
    )
    .bind(id)
    .bind(fence)
    .bind(report)
    .execute(tx)
    .await?;
    Ok(())
}

/// Sales that were signed off longer than `age` ago, with their fences: Redis may forget them.
pub async fn closed_out_before(pool: &PgPool, age: time::Duration) -> sqlx::Result<Vec<(Uuid, i64)>> {
    sqlx::query_as("SELECT id, fence FROM sales WHERE state = 'closed_out' AND closed_out_at < $1")
        .bind(OffsetDateTime::now_utc() - age)
        .fetch_all(pool)
        .await
}

async fn with_items(connection: &mut PgConnection, rows: Vec<PgRow>) -> sqlx::Result<Vec<Sale>> {
    let mut sales = rows.iter().map(read).collect::<sqlx::Result<Vec<_>>>()?;
    if sales.is_empty() {
        return Ok(sales);
    }
    let rows = sqlx::query(
        "SELECT item.*, skus.title FROM sale_items AS item JOIN skus USING (sku)
         WHERE sale_id = ANY($1) ORDER BY sale_id, sku",
    )
    .bind(sales.iter().map(|sale| sale.id).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let mut by_sale: HashMap<Uuid, Vec<SaleItem>> = HashMap::new();
    for row in rows {
        by_sale.entry(row.try_get("sale_id")?).or_default().push(SaleItem {
            sku: row.try_get("sku")?,
            title: row.try_get("title")?,
            price: row.try_get("price")?,
            per_buyer_limit: row.try_get("per_buyer_limit")?,
            ledger: Counters {
                preloaded: row.try_get("preloaded")?,
                remaining: row.try_get("remaining")?,
                reserved: row.try_get("reserved")?,
                sold: row.try_get("sold")?,
            },
        });
    }
    for sale in &mut sales {
        sale.items = by_sale.remove(&sale.id).unwrap_or_default();
    }
    Ok(sales)
}

fn read(row: &PgRow) -> sqlx::Result<Sale> {
    let state: &str = row.try_get("state")?;
    Ok(Sale {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        state: SaleState::parse(state).ok_or_else(|| unreadable("state", state))?,
        currency: row.try_get("currency")?,
        opens_at_ms: ms(row.try_get("opens_at")?),
        closes_at_ms: ms(row.try_get("closes_at")?),
        payment_seconds: row.try_get::<i32, _>("payment_seconds")?.into(),
        fence: row.try_get("fence")?,
        loaded: row.try_get("loaded")?,
        items: Vec::new(),
        standing: row.try_get("standing")?,
        close_out: row.try_get("close_out")?,
    })
}
