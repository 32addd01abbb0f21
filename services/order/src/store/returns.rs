//! Returns and their lines.

use std::collections::{BTreeMap, HashMap};

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::clock::{at, ms};
use super::{column, unreadable};
use crate::domain::order::Units;
use crate::domain::returns::{Return, ReturnState};

/// Writes returns, whether new or further along. The units of a new return count against what was bought.
pub async fn save(tx: &mut PgConnection, returns: &BTreeMap<Uuid, (Uuid, Return)>) -> sqlx::Result<()> {
    if returns.is_empty() {
        return Ok(());
    }
    let rows: Vec<(Uuid, &Return)> = returns.values().map(|(order, noted)| (*order, noted)).collect();
    let new: Vec<Option<Uuid>> = sqlx::query_scalar(
        "INSERT INTO returns (id, order_id, state, reason, amount, requested_at, updated_at, tracking_number)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[],
             $6::timestamptz[], $7::timestamptz[], $8::text[])
         ON CONFLICT (id) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at,
             tracking_number = excluded.tracking_number
         RETURNING CASE WHEN xmax = 0 THEN id END",
    )
    .bind(column(&rows, |(_, noted)| noted.id))
    .bind(column(&rows, |(order, _)| *order))
    .bind(column(&rows, |(_, noted)| noted.state.as_str()))
    .bind(column(&rows, |(_, noted)| noted.reason.as_str()))
    .bind(column(&rows, |(_, noted)| noted.amount))
    .bind(column(&rows, |(_, noted)| at(noted.requested_at_ms)))
    .bind(column(&rows, |(_, noted)| at(noted.updated_at_ms)))
    .bind(column(&rows, |(_, noted)| noted.tracking_number.as_deref()))
    .fetch_all(&mut *tx)
    .await?;
    let lines: Vec<(Uuid, Uuid, &Units)> = rows
        .iter()
        .filter(|(_, noted)| new.contains(&Some(noted.id)))
        .flat_map(|(order, noted)| noted.lines.iter().map(|line| (noted.id, *order, line)))
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "WITH new AS (
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[])
                 AS new (return_id, order_id, sku, quantity)
         ), kept AS (
             INSERT INTO return_lines (return_id, sku, quantity) SELECT return_id, sku, quantity FROM new
         )
         UPDATE order_lines AS line SET returned = line.returned + new.quantity
         FROM (SELECT order_id, sku, sum(quantity) AS quantity FROM new GROUP BY order_id, sku) AS new
         WHERE line.order_id = new.order_id AND line.sku = new.sku",
    )
    .bind(column(&lines, |(id, _, _)| *id))
    .bind(column(&lines, |(_, order, _)| *order))
    .bind(column(&lines, |(_, _, line)| line.sku.as_str()))
    .bind(column(&lines, |(_, _, line)| line.quantity))
    .execute(tx)
    .await?;
    Ok(())
}

/// The returns of these orders, in the order of the requests.
pub async fn of(connection: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<HashMap<Uuid, Vec<Return>>> {
    let mut found: HashMap<Uuid, Vec<Return>> = HashMap::new();
    if orders.is_empty() {
        return Ok(found);
    }
    // The ids are UUIDv7 and sort by time.
    let rows = sqlx::query(
        "SELECT returns.*, array_agg(sku ORDER BY sku) AS skus, array_agg(quantity ORDER BY sku) AS quantities
         FROM returns JOIN return_lines ON return_id = id
         WHERE order_id = ANY($1) GROUP BY returns.id ORDER BY returns.id",
    )
    .bind(orders)
    .fetch_all(connection)
    .await?;
    for row in rows {
        let state: &str = row.try_get("state")?;
        let skus: Vec<String> = row.try_get("skus")?;
        let quantities: Vec<i64> = row.try_get("quantities")?;
        let lines = skus.into_iter().zip(quantities).map(|(sku, quantity)| Units { sku, quantity });
        found.entry(row.try_get("order_id")?).or_default().push(Return {
            id: row.try_get("id")?,
            state: ReturnState::parse(state).ok_or_else(|| unreadable("state", state))?,
            lines: lines.collect(),
            amount: row.try_get("amount")?,
            reason: row.try_get("reason")?,
            requested_at_ms: ms(row.try_get("requested_at")?),
            updated_at_ms: ms(row.try_get("updated_at")?),
            tracking_number: row.try_get("tracking_number")?,
        });
    }
    Ok(found)
}
