//! Events that wait: news about payments until we trust Redis again, what follows that news, and news about
//! orders that are not known yet.
//!
//! Each event is either here or in the books, never in both. It comes in with the transaction that receives
//! it and leaves with the transaction that books it. Events that wait for units are in
//! [`waiting`](super::waiting) instead.

use std::collections::{HashMap, HashSet};

use rocketmart_contracts::event::{Payload as _, PaymentFailed, PaymentSucceeded};
use rocketmart_kit::event::Event;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use super::column;

/// Stands for the sale of an order that is not known.
pub const SALE_UNKNOWN: Uuid = Uuid::nil();

/// An event to park, with its order and the sale that it waits for.
pub struct Parked<'a> {
    pub sale_id: Uuid,
    pub order_id: Uuid,
    pub event: &'a Event,
}

/// The statement with which [`insert`] keeps events in a table with these columns, each event once.
macro_rules! insert_into {
    ($table:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " (sale_id, order_id, id, type, source, time, traceparent, data)
             SELECT sale_id, order_id, id, type, source, time, traceparent, data
             FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[],
                 $8::bytea[]) WITH ORDINALITY AS e (sale_id, order_id, id, type, source, time, traceparent, data, n)
             ORDER BY n ON CONFLICT (id) DO NOTHING"
        )
    };
}
pub(super) use insert_into;

pub async fn park(tx: &mut PgConnection, parked: &[Parked<'_>]) -> sqlx::Result<()> {
    insert(tx, insert_into!("parked_payments"), parked).await
}

/// Writes events with a statement from [`insert_into!`].
pub(super) async fn insert(
    tx: &mut PgConnection,
    statement: &'static str,
    parked: &[Parked<'_>],
) -> sqlx::Result<()> {
    if parked.is_empty() {
        return Ok(());
    }
    let text = |of: fn(&Event) -> &str| column(parked, |parked| of(parked.event));
    sqlx::query(statement)
        .bind(column(parked, |parked| parked.sale_id))
        .bind(column(parked, |parked| parked.order_id))
        .bind(text(|event| &event.id))
        .bind(text(|event| &event.event_type))
        .bind(text(|event| &event.source))
        .bind(column(parked, |parked| parked.event.time))
        .bind(column(parked, |parked| parked.event.traceparent.as_deref()))
        .bind(column(parked, |parked| &*parked.event.data))
        .execute(tx)
        .await?;
    Ok(())
}

/// Finds the sales of orders that were unknown when their events were parked and are known now.
pub async fn find_sales(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE parked_payments AS parked SET sale_id = orders.sale_id
         FROM orders WHERE parked.sale_id = $1 AND orders.id = parked.order_id",
    )
    .bind(SALE_UNKNOWN)
    .execute(connection)
    .await?;
    Ok(())
}

/// Those of `orders` that have parked events, with their sales.
pub async fn of_orders(tx: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<HashMap<Uuid, Uuid>> {
    if orders.is_empty() {
        return Ok(HashMap::new());
    }
    let found: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "SELECT order_id, sale_id FROM parked_payments WHERE order_id = ANY($1) AND refused IS NULL",
    )
    .bind(orders)
    .fetch_all(tx)
    .await?;
    Ok(found.into_iter().collect())
}

/// The sale of an order, if we doubt what Redis says about it.
pub async fn doubted_sale(tx: &mut PgConnection, order: Uuid) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar(
        "SELECT sales.id FROM orders JOIN sales ON sales.id = sale_id WHERE orders.id = $1 AND doubt IS NOT NULL",
    )
    .bind(order)
    .fetch_optional(tx)
    .await
}

/// Up to `limit` events that need not wait any more: oldest first, and payments before what follows them,
/// which may have come from another topic. These are events whose sales are no longer in doubt, and failed
/// payments that the books decide about. What follows a payment that nobody has heard of keeps waiting.
pub async fn ready(pool: &PgPool, limit: i64) -> sqlx::Result<Vec<Event>> {
    let rows = sqlx::query(
        "SELECT parked.* FROM parked_payments AS parked JOIN sales ON sales.id = sale_id
         WHERE (doubt IS NULL OR books_decide AND type = $3) AND refused IS NULL
               AND (NOT EXISTS (SELECT 1 FROM orders WHERE orders.id = parked.order_id AND state = 'reserved')
                    OR EXISTS (SELECT 1 FROM parked_payments AS paid
                               WHERE paid.order_id = parked.order_id AND paid.type = ANY($2)
                                     AND paid.refused IS NULL))
         ORDER BY type <> ALL($2), position LIMIT $1",
    )
    .bind(limit)
    .bind(vec![PaymentSucceeded::TYPE, PaymentFailed::TYPE])
    .bind(PaymentFailed::TYPE)
    .fetch_all(pool)
    .await?;
    rows.iter().map(read).collect()
}

pub(super) fn read(row: &PgRow) -> sqlx::Result<Event> {
    Ok(Event {
        id: row.try_get("id")?,
        source: row.try_get("source")?,
        event_type: row.try_get("type")?,
        time: row.try_get("time")?,
        key: row.try_get::<Uuid, _>("order_id")?.to_string(),
        traceparent: row.try_get("traceparent")?,
        data: row.try_get::<Vec<u8>, _>("data")?.into(),
    })
}

/// Removes these events for the transaction that books them. When two try, one gets an event.
pub async fn take(tx: &mut PgConnection, ids: &[String]) -> sqlx::Result<HashSet<String>> {
    let taken: Vec<String> = sqlx::query_scalar(
        "DELETE FROM parked_payments WHERE position IN
             (SELECT position FROM parked_payments WHERE id = ANY($1) ORDER BY position FOR UPDATE)
         RETURNING id",
    )
    .bind(ids)
    .fetch_all(tx)
    .await?;
    Ok(taken.into_iter().collect())
}

/// Leaves an event that contradicts the books for a person to examine.
pub async fn refuse(pool: &PgPool, id: &str, reason: &str) -> sqlx::Result<()> {
    sqlx::query("UPDATE parked_payments SET refused = $2 WHERE id = $1")
        .bind(id)
        .bind(reason)
        .execute(pool)
        .await?;
    Ok(())
}
