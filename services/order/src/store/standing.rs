//! The standing sales in SQL: their rows, their shelves, and what does not match the stock.
//!
//! Whoever changes what a shelf offers holds [`lock`] while talking to Redis, so that one process at a time
//! changes SQL and Redis. It also carries a [`next_fence`], so that Redis refuses a call from a process
//! that has lost the lock meanwhile. The lock comes before any row. Rows of stock and SKUs that others hold
//! are skipped and looked at later, so that keeping the shelves never waits for the workers.

use std::collections::{BTreeMap, HashMap};

use sqlx::{FromRow, PgConnection, PgPool, Row as _};
use uuid::Uuid;

use super::column;
use crate::domain::ledger::Counters;
use crate::domain::sale::MAX_UNITS;
use crate::domain::standing::{Offer, Shelf, Sku, sale_id};

/// Units by SKU.
pub type Units = BTreeMap<String, i64>;

const LOCK: &str = "standing stock";

/// Waits until nobody else changes an offer. The lock lasts until the transaction ends.
pub async fn lock(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").bind(LOCK).execute(tx).await?;
    Ok(())
}

/// The same, unless somebody else has it already.
pub async fn try_lock(tx: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(LOCK)
        .fetch_one(tx)
        .await
}

/// A fence above all earlier ones, and above `seen`, which is Redis' own.
pub async fn next_fence(tx: &mut PgConnection, seen: u64) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT setval('standing_fence', greatest(nextval('standing_fence'), $1))")
        .bind(i64::try_from(seen).unwrap_or(i64::MAX - 1) + 1)
        .fetch_one(tx)
        .await
}

/// A SKU that needs a look, with its shelves.
pub type Found = (Sku, Vec<Shelf>);

#[derive(FromRow)]
struct SkuRow {
    sku: String,
    published: bool,
    currency: String,
    price: i64,
    surplus: i64,
    on_hand: i64,
    allocated: i64,
    shelved: i64,
}

/// Up to `limit` SKUs after `after` whose offer may be wrong, in order and with their shelves, all locked
/// until the transaction ends.
pub async fn unsettled(tx: &mut PgConnection, after: &str, limit: i64) -> sqlx::Result<Vec<Found>> {
    let rows: Vec<SkuRow> = sqlx::query_as(
        "SELECT sku, state = 'published' AS published, currency, price,
             surplus + greatest(supplied - coalesce(refused_supply, supplied), 0) AS surplus,
             on_hand, allocated, shelved
         FROM skus JOIN stock USING (sku) WHERE unsettled AND sku > $1
         ORDER BY sku LIMIT $2 FOR UPDATE SKIP LOCKED",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(&mut *tx)
    .await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let names = column(&rows, |row| row.sku.as_str());
    let mut shelves: HashMap<String, Vec<Shelf>> = HashMap::new();
    // In the order in which the workers lock the ledger.
    let on_shelves = sqlx::query(
        "SELECT sku, currency, item.price, preloaded, remaining, reserved, sold
         FROM sale_items AS item JOIN sales ON id = sale_id
         WHERE standing AND sku = ANY($1) ORDER BY sale_id, sku FOR UPDATE OF item",
    )
    .bind(names)
    .fetch_all(tx)
    .await?;
    for row in on_shelves {
        let units = Counters {
            preloaded: row.try_get("preloaded")?,
            remaining: row.try_get("remaining")?,
            reserved: row.try_get("reserved")?,
            sold: row.try_get("sold")?,
        };
        let shelf = Shelf { currency: row.try_get("currency")?, price: row.try_get("price")?, units };
        shelves.entry(row.try_get("sku")?).or_default().push(shelf);
    }
    let found = rows.into_iter().map(|row| {
        let shelves = shelves.remove(&row.sku).unwrap_or_default();
        let sku = Sku {
            sku: row.sku,
            published: row.published,
            currency: row.currency,
            price: row.price,
            surplus: row.surplus,
            on_hand: row.on_hand,
            allocated: row.allocated,
            shelved: row.shelved,
        };
        (sku, shelves)
    });
    Ok(found.collect())
}

/// Notes that these SKUs are as they should be, until something happens to them.
pub async fn settled(tx: &mut PgConnection, skus: &[&str]) -> sqlx::Result<()> {
    if skus.is_empty() {
        return Ok(());
    }
    sqlx::query("UPDATE skus SET unsettled = false WHERE sku = ANY($1)").bind(skus).execute(tx).await?;
    Ok(())
}

/// Makes sure that this currency has its sale, with at least this much time to pay.
pub async fn ensure(tx: &mut PgConnection, currency: &str, payment_seconds: u32) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO sales (id, name, state, currency, opens_at, closes_at, payment_seconds, fence, standing)
         VALUES ($1, 'standing-' || $2, 'loading', $2, 'epoch', '9999-12-31T00:00:00Z', $3, 0, true)
         ON CONFLICT (id) DO UPDATE SET
             payment_seconds = greatest(sales.payment_seconds, excluded.payment_seconds)
         WHERE sales.payment_seconds < excluded.payment_seconds",
    )
    .bind(sale_id(currency))
    .bind(currency)
    .bind(i32::try_from(payment_seconds).unwrap_or(i32::MAX))
    .execute(tx)
    .await?;
    Ok(())
}

/// Puts more units on shelves, at these prices.
pub async fn offer(tx: &mut PgConnection, offers: &[(&str, Offer)]) -> sqlx::Result<()> {
    if offers.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO sale_items AS item (sale_id, sku, price, per_buyer_limit, preloaded, remaining)
         SELECT sale_id, sku, price, $5::bigint, units, units
         FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[]) AS more (sale_id, sku, price, units)
         ORDER BY sale_id, sku
         ON CONFLICT (sale_id, sku) DO UPDATE SET price = excluded.price,
             preloaded = item.preloaded + excluded.preloaded, remaining = item.remaining + excluded.remaining",
    )
    .bind(column(offers, |(_, offer)| sale_id(&offer.currency)))
    .bind(column(offers, |(sku, _)| *sku))
    .bind(column(offers, |(_, offer)| offer.price))
    .bind(column(offers, |(_, offer)| offer.units))
    .bind(MAX_UNITS)
    .execute(&mut *tx)
    .await?;
    let shelved = offers.iter().map(|(sku, offer)| ((*sku).to_owned(), offer.units)).collect();
    shelve(tx, &shelved).await
}

/// Takes units off a currency's shelves after Redis has done so. Taking more than SQL knows to be free
/// violates the ledger: SQL has yet to learn that the units came back.
pub async fn take_off(tx: &mut PgConnection, currency: &str, units: &Units) -> sqlx::Result<()> {
    let rows: Vec<(&String, &i64)> = units.iter().collect();
    sqlx::query(
        "UPDATE sale_items AS item SET preloaded = preloaded - taken.units, remaining = remaining - taken.units
         FROM unnest($2::text[], $3::bigint[]) AS taken (sku, units)
         WHERE item.sale_id = $1 AND item.sku = taken.sku",
    )
    .bind(sale_id(currency))
    .bind(column(&rows, |(sku, _)| sku.as_str()))
    .bind(column(&rows, |(_, units)| **units))
    .execute(&mut *tx)
    .await?;
    let shelved = units.iter().map(|(sku, units)| (sku.clone(), -units)).collect();
    shelve(tx, &shelved).await
}

async fn shelve(tx: &mut PgConnection, units: &Units) -> sqlx::Result<()> {
    let rows: Vec<(&String, &i64)> = units.iter().filter(|(_, units)| **units != 0).collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE stock SET shelved = shelved + more.units
         FROM unnest($1::text[], $2::bigint[]) AS more (sku, units) WHERE stock.sku = more.sku",
    )
    .bind(column(&rows, |(sku, _)| sku.as_str()))
    .bind(column(&rows, |(_, units)| **units))
    .execute(tx)
    .await?;
    Ok(())
}

/// Removes units that their sellers do not have.
pub async fn cut_surplus(tx: &mut PgConnection, units: &Units) -> sqlx::Result<()> {
    if units.is_empty() {
        return Ok(());
    }
    let rows: Vec<(&String, &i64)> = units.iter().collect();
    let skus = column(&rows, |(sku, _)| sku.as_str());
    let units = column(&rows, |(_, units)| **units);
    sqlx::query(
        "UPDATE skus
         SET surplus = surplus + greatest(supplied - coalesce(refused_supply, supplied), 0) - cut.units,
             supplied = coalesce(refused_supply, supplied), refused_supply = NULL
         FROM unnest($1::text[], $2::bigint[]) AS cut (sku, units) WHERE skus.sku = cut.sku",
    )
    .bind(&skus)
    .bind(&units)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE stock SET on_hand = on_hand - cut.units
         FROM unnest($1::text[], $2::bigint[]) AS cut (sku, units) WHERE stock.sku = cut.sku",
    )
    .bind(&skus)
    .bind(&units)
    .execute(tx)
    .await?;
    Ok(())
}

/// The sale of a currency as Redis must hold it, with some of its SKUs.
#[derive(Clone, Debug)]
pub struct Offered {
    pub name: String,
    pub payment_seconds: u32,
    /// Whether Redis ever held the sale: from then on it may not start over there.
    pub loaded: bool,
    /// Whether the sale should sell.
    pub ready: bool,
    /// Whether we trust Redis about the sale. If not, we ask it nothing before the rebuild.
    pub trusted: bool,
    pub items: BTreeMap<String, OnShelf>,
}

/// Units ever put on sale, how many of them are free by the ledger, and the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnShelf {
    pub preloaded: i64,
    pub remaining: i64,
    pub price: i64,
}

/// These SKUs in the sale of a currency, as last committed.
pub async fn offered(tx: &mut PgConnection, currency: &str, skus: &[&str]) -> sqlx::Result<Option<Offered>> {
    let id = sale_id(currency);
    let row: Option<(String, i32, bool, bool, bool)> = sqlx::query_as(
        "SELECT name, payment_seconds, loaded, state = 'ready', doubt IS NULL FROM sales WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(&mut *tx)
    .await?;
    let Some((name, payment_seconds, loaded, ready, trusted)) = row else { return Ok(None) };
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "SELECT sku, preloaded, remaining, price FROM sale_items WHERE sale_id = $1 AND sku = ANY($2)",
    )
    .bind(id)
    .bind(skus)
    .fetch_all(tx)
    .await?;
    let items = rows
        .into_iter()
        .map(|(sku, preloaded, remaining, price)| (sku, OnShelf { preloaded, remaining, price }))
        .collect();
    let payment_seconds = u32::try_from(payment_seconds).unwrap_or_default();
    Ok(Some(Offered { name, payment_seconds, loaded, ready, trusted, items }))
}

/// Notes that Redis holds the sale.
pub async fn set_loaded(tx: &mut PgConnection, currency: &str) -> sqlx::Result<()> {
    sqlx::query("UPDATE sales SET loaded = true, state = 'ready' WHERE id = $1")
        .bind(sale_id(currency))
        .execute(tx)
        .await?;
    Ok(())
}

/// Up to `limit` shelves after the place `after`, a currency and a SKU. With these, all shelves can be
/// compared with Redis, some at a time.
pub async fn shelves_after(
    tx: &mut PgConnection,
    after: &(String, String),
    limit: i64,
) -> sqlx::Result<Vec<(String, String)>> {
    sqlx::query_as(
        "SELECT currency, sku FROM sale_items JOIN sales ON id = sale_id
         WHERE standing AND (currency, sku) > ($1, $2) ORDER BY currency, sku LIMIT $3",
    )
    .bind(&after.0)
    .bind(&after.1)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// What has to come off this currency's shelf so that this many units of each SKU can be promised to a
/// sale. Units that nobody offers go first. The stock is already locked.
pub async fn missing(tx: &mut PgConnection, wanted: &Units) -> sqlx::Result<Units> {
    let rows: Vec<(&String, &i64)> = wanted.iter().collect();
    let missing: Vec<(String, i64)> = sqlx::query_as(
        "SELECT sku, wanted.units - (on_hand - allocated - shelved)
         FROM unnest($1::text[], $2::bigint[]) AS wanted (sku, units) JOIN stock USING (sku)
         WHERE wanted.units > on_hand - allocated - shelved AND wanted.units > 0",
    )
    .bind(column(&rows, |(sku, _)| sku.as_str()))
    .bind(column(&rows, |(_, units)| **units))
    .fetch_all(tx)
    .await?;
    Ok(missing.into_iter().collect())
}

/// Locks the ledger of these SKUs, both in a sale and on its currency's shelf, in the order in which the
/// workers lock it.
pub async fn lock_ledger(
    tx: &mut PgConnection,
    sale: Uuid,
    currency: &str,
    skus: &[&str],
) -> sqlx::Result<()> {
    sqlx::query(
        "SELECT FROM sale_items WHERE sale_id = ANY($1) AND sku = ANY($2) ORDER BY sale_id, sku FOR UPDATE",
    )
    .bind(vec![sale, sale_id(currency)])
    .bind(skus)
    .execute(tx)
    .await?;
    Ok(())
}

/// Ids of the standing sales that Redis holds.
pub async fn loaded(pool: &PgPool) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar("SELECT id FROM sales WHERE standing AND loaded").fetch_all(pool).await
}

/// Those of them about which we do not trust Redis.
pub async fn doubted(pool: &PgPool) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar("SELECT id FROM sales WHERE standing AND doubt IS NOT NULL").fetch_all(pool).await
}
