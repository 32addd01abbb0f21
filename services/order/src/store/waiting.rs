//! Stream events that wait for units: see [`crate::worker`].
//!
//! An event here is in no inbox, so order-relay keeps its entry and sends it again. Whichever copy is
//! booked first, the inbox recognizes the other.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rocketmart_kit::event::Event;
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use super::column;
use super::parked::{self, Parked};

/// Keeps events, each once.
pub async fn keep(tx: &mut PgConnection, events: &[Parked<'_>]) -> sqlx::Result<()> {
    parked::insert(tx, parked::insert_into!("waiting_events"), events).await
}

/// Forgets events that another copy has booked.
pub async fn forget_booked(pool: &PgPool) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM waiting_events USING inbox WHERE waiting_events.id = inbox.id")
        .execute(pool)
        .await?;
    Ok(())
}

/// Up to `limit` waiting events after the position `after`, in the order of their arrival, and the position
/// of the last one.
pub async fn page(pool: &PgPool, after: i64, limit: i64) -> sqlx::Result<Option<(i64, Vec<Event>)>> {
    let rows = sqlx::query(
        "SELECT * FROM waiting_events WHERE refused IS NULL AND position > $1 ORDER BY position LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    let Some(last) = rows.last() else { return Ok(None) };
    let last = last.try_get("position")?;
    Ok(Some((last, rows.iter().map(parked::read).collect::<sqlx::Result<_>>()?)))
}

/// The ids among `ids` that are here and that nobody else is booking; nobody else will until the
/// transaction ends.
pub async fn lock(tx: &mut PgConnection, ids: &[String]) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT id FROM waiting_events WHERE id = ANY($1) ORDER BY position FOR UPDATE SKIP LOCKED",
    )
    .bind(ids)
    .fetch_all(tx)
    .await
}

/// Forgets events that were booked.
pub async fn forget(tx: &mut PgConnection, ids: &[String]) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM waiting_events WHERE id = ANY($1)").bind(ids).execute(tx).await?;
    Ok(())
}

/// Those of `orders` that have events here.
pub async fn of_orders(tx: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<HashSet<Uuid>> {
    let found: Vec<Uuid> =
        sqlx::query_scalar("SELECT DISTINCT order_id FROM waiting_events WHERE order_id = ANY($1)")
            .bind(orders)
            .fetch_all(tx)
            .await?;
    Ok(found.into_iter().collect())
}

/// Gives up on events that have waited longer than `patience`, and returns their ids.
pub async fn refuse(pool: &PgPool, patience: Duration) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "UPDATE waiting_events SET refused = 'the units did not come'
         WHERE refused IS NULL AND since < now() - make_interval(secs => $1) RETURNING id",
    )
    .bind(patience.as_secs_f64())
    .fetch_all(pool)
    .await
}

/// The ids among `ids` that we gave up on.
pub async fn refused(tx: &mut PgConnection, ids: &[String]) -> sqlx::Result<HashSet<String>> {
    let found: Vec<String> =
        sqlx::query_scalar("SELECT id FROM waiting_events WHERE id = ANY($1) AND refused IS NOT NULL")
            .bind(ids)
            .fetch_all(tx)
            .await?;
    Ok(found.into_iter().collect())
}

/// Units that nobody has reserved, by sale and SKU, as last committed.
pub async fn room(
    tx: &mut PgConnection,
    items: &[(Uuid, &str)],
) -> sqlx::Result<HashMap<(Uuid, String), i64>> {
    let rows: Vec<(Uuid, String, i64)> = sqlx::query_as(
        "SELECT DISTINCT sale_id, sku, remaining FROM sale_items
             JOIN unnest($1::uuid[], $2::text[]) AS asked (sale_id, sku) USING (sale_id, sku)",
    )
    .bind(column(items, |item| item.0))
    .bind(column(items, |item| item.1))
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(|(sale, sku, remaining)| ((sale, sku), remaining)).collect())
}
