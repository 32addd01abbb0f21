//! How many units of each SKU buyers can get, and what we last reported of that.

use rocketmart_contracts::event::StockLevel;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::column;

/// The reporting process holds this lock until its transaction ends, so that only one reports at a time.
pub async fn try_lock(tx: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT pg_try_advisory_xact_lock(hashtextextended('stock levels', 0))")
        .fetch_one(tx)
        .await
}

#[derive(FromRow)]
struct Row {
    sku: String,
    product_id: Uuid,
    available: i64,
    version: i64,
}

/// Up to `limit` levels that differ from the last report. A product that is not published has no units to
/// get.
pub async fn changed(tx: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<StockLevel>> {
    let rows: Vec<Row> = sqlx::query_as(
        "WITH held AS (
             SELECT sku, sum(reserved) AS units FROM sale_items
             WHERE sale_id IN (SELECT id FROM sales WHERE standing) GROUP BY sku
         ), level AS (
             SELECT skus.sku, skus.product_id, CASE WHEN skus.state = 'published'
                 THEN greatest(on_hand - allocated - coalesce(held.units, 0) - surplus, 0)::bigint ELSE 0 END AS available
             FROM skus JOIN stock USING (sku) LEFT JOIN held USING (sku)
         )
         SELECT level.sku, level.product_id, level.available,
             greatest(told.version + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS version
         FROM level LEFT JOIN stock_levels AS told USING (sku)
         WHERE (told.product_id, told.available) IS DISTINCT FROM (level.product_id, level.available)
         ORDER BY told.version NULLS FIRST, level.sku LIMIT $1",
    )
    .bind(limit)
    .fetch_all(tx)
    .await?;
    let level =
        |Row { sku, product_id, available, version }| StockLevel { sku, product_id, available, version };
    Ok(rows.into_iter().map(level).collect())
}

/// Notes what was reported.
pub async fn note(tx: &mut PgConnection, levels: &[StockLevel]) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO stock_levels (sku, product_id, available, version)
         SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[])
         ON CONFLICT (sku) DO UPDATE SET product_id = excluded.product_id, available = excluded.available,
             version = excluded.version",
    )
    .bind(column(levels, |level| level.sku.as_str()))
    .bind(column(levels, |level| level.product_id))
    .bind(column(levels, |level| level.available))
    .bind(column(levels, |level| level.version))
    .execute(tx)
    .await?;
    Ok(())
}

/// Makes every level be reported again.
pub async fn forget(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("UPDATE stock_levels SET available = -1").execute(tx).await?;
    Ok(())
}
