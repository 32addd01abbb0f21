//! Orders, their lines and the record of their transitions.

use std::collections::HashMap;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::clock::{at, ms};
use super::{column, returns, unreadable};
use crate::domain::batch::Transition;
use crate::domain::cancellation::Cancellation;
use crate::domain::order::{Line, Order, Payment, PaymentState, Refunds, Shipment};

/// The orders of `ids` that exist, locked in the order of their ids until the transaction ends.
pub async fn lock(tx: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<Order>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query("SELECT * FROM orders WHERE id = ANY($1) ORDER BY id FOR UPDATE")
        .bind(ids)
        .fetch_all(&mut *tx)
        .await?;
    with_lines(tx, &rows).await
}

/// The orders of `ids` that exist, as last committed.
pub async fn find(pool: &PgPool, ids: &[Uuid]) -> sqlx::Result<Vec<Order>> {
    let mut connection = pool.acquire().await?;
    let rows =
        sqlx::query("SELECT * FROM orders WHERE id = ANY($1)").bind(ids).fetch_all(&mut *connection).await?;
    with_lines(&mut connection, &rows).await
}

/// Whether any of `ids` exists, as last committed.
pub async fn any(tx: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<bool> {
    if ids.is_empty() {
        return Ok(false);
    }
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM orders WHERE id = ANY($1))")
        .bind(ids)
        .fetch_one(tx)
        .await
}

/// The ids among `ids` whose orders are decided: paid or released at some time.
pub async fn decided(pool: &PgPool, ids: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar("SELECT id FROM orders WHERE id = ANY($1) AND state <> 'reserved'")
        .bind(ids)
        .fetch_all(pool)
        .await
}

/// Up to `limit` orders that were delivered before `then` and are still with their buyers, oldest first,
/// locked until the transaction ends. It skips what another replica is working on.
pub async fn lock_delivered_before(
    tx: &mut PgConnection,
    then: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<Vec<Order>> {
    let rows = sqlx::query(
        "SELECT * FROM orders
         WHERE state = 'delivered' AND coalesce(delivered_at, shipment_updated_at) <= $1
         ORDER BY coalesce(delivered_at, shipment_updated_at) LIMIT $2 FOR UPDATE SKIP LOCKED",
    )
    .bind(then)
    .bind(limit)
    .fetch_all(&mut *tx)
    .await?;
    with_lines(tx, &rows).await
}

/// Up to `limit` orders of a buyer, newest first, older than the order `before`.
///
/// Order ids are `UUIDv7` and sort by time, so the id is the cursor.
pub async fn of_buyer(
    pool: &PgPool,
    buyer: Uuid,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Order>> {
    let mut connection = pool.acquire().await?;
    let rows = sqlx::query(
        "SELECT * FROM orders WHERE buyer_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
    )
    .bind(buyer)
    .bind(before)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    with_lines(&mut connection, &rows).await
}

/// Inserts new orders with their lines.
pub async fn insert(tx: &mut PgConnection, orders: &[Order]) -> sqlx::Result<()> {
    if orders.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO orders (id, sale_id, buyer_id, amount, currency, reserved_at, pay_by,
             state, payment_state, payment_id, payment_method_id, delivery_address_id, payment_reason,
             paid_at, released_at, shipment_id, tracking_number, shipment_updated_at, delivered_at,
             refunds_requested, refunded, payment_attempt)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[],
             $6::timestamptz[], $7::timestamptz[],
             $8::text[], $9::text[], $10::uuid[], $11::uuid[], $12::uuid[], $13::text[],
             $14::timestamptz[], $15::timestamptz[], $16::uuid[], $17::text[], $18::timestamptz[],
             $19::timestamptz[], $20::bigint[], $21::bigint[], $22::int[])",
    )
    .bind(column(orders, |o| o.id))
    .bind(column(orders, |o| o.sale_id))
    .bind(column(orders, |o| o.buyer_id))
    .bind(column(orders, |o| o.amount))
    .bind(column(orders, |o| o.currency.as_str()))
    .bind(column(orders, |o| at(o.reserved_at_ms)))
    .bind(column(orders, |o| at(o.pay_by_ms)))
    .bind(column(orders, |o| o.state.as_str()))
    .bind(column(orders, |o| o.payment.state.as_str()))
    .bind(column(orders, |o| o.payment.id))
    .bind(column(orders, |o| o.payment.method_id))
    .bind(column(orders, |o| o.delivery_address_id))
    .bind(column(orders, |o| o.payment.reason.as_deref()))
    .bind(column(orders, |o| o.paid_at_ms.map(at)))
    .bind(column(orders, |o| o.released_at_ms.map(at)))
    .bind(column(orders, |o| o.shipment.as_ref().map(|s| s.id)))
    .bind(column(orders, |o| o.shipment.as_ref().and_then(|s| s.tracking_number.as_deref())))
    .bind(column(orders, |o| o.shipment.as_ref().map(|s| at(s.updated_at_ms))))
    .bind(column(orders, |o| o.delivered_at_ms.map(at)))
    .bind(column(orders, |o| o.refunds.requested))
    .bind(column(orders, |o| o.refunds.done))
    .bind(column(orders, |o| o.payment.attempt))
    .execute(&mut *tx)
    .await?;

    let lines: Vec<(Uuid, &Line)> =
        orders.iter().flat_map(|order| order.lines.iter().map(|line| (order.id, line))).collect();
    sqlx::query(
        "INSERT INTO order_lines (order_id, sku, quantity, unit_price)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[])",
    )
    .bind(column(&lines, |(order, _)| *order))
    .bind(column(&lines, |(_, line)| line.sku.as_str()))
    .bind(column(&lines, |(_, line)| line.quantity))
    .bind(column(&lines, |(_, line)| line.unit_price))
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes back everything about orders that can change after they are made.
pub async fn update(tx: &mut PgConnection, orders: &[Order]) -> sqlx::Result<()> {
    if orders.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE orders SET
             state = new.state, payment_state = new.payment_state, payment_id = new.payment_id,
             payment_method_id = new.payment_method_id, delivery_address_id = new.delivery_address_id,
             payment_reason = new.payment_reason, paid_at = new.paid_at, released_at = new.released_at,
             shipment_id = new.shipment_id, tracking_number = new.tracking_number,
             shipment_updated_at = new.shipment_updated_at, delivered_at = new.delivered_at,
             refunds_requested = new.refunds_requested, refunded = new.refunded,
             cancel_requested_at = new.cancel_requested_at, cancel_reason = new.cancel_reason,
             cancel_refused = new.cancel_refused, payment_attempt = new.payment_attempt
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[],
             $8::timestamptz[], $9::timestamptz[], $10::uuid[], $11::text[], $12::timestamptz[],
             $13::timestamptz[], $14::bigint[], $15::bigint[], $16::timestamptz[], $17::text[], $18::text[],
             $19::int[])
             AS new (id, state, payment_state, payment_id, payment_method_id, delivery_address_id,
                 payment_reason, paid_at, released_at, shipment_id, tracking_number, shipment_updated_at,
                 delivered_at, refunds_requested, refunded, cancel_requested_at, cancel_reason,
                 cancel_refused, payment_attempt)
         WHERE orders.id = new.id",
    )
    .bind(column(orders, |o| o.id))
    .bind(column(orders, |o| o.state.as_str()))
    .bind(column(orders, |o| o.payment.state.as_str()))
    .bind(column(orders, |o| o.payment.id))
    .bind(column(orders, |o| o.payment.method_id))
    .bind(column(orders, |o| o.delivery_address_id))
    .bind(column(orders, |o| o.payment.reason.as_deref()))
    .bind(column(orders, |o| o.paid_at_ms.map(at)))
    .bind(column(orders, |o| o.released_at_ms.map(at)))
    .bind(column(orders, |o| o.shipment.as_ref().map(|s| s.id)))
    .bind(column(orders, |o| o.shipment.as_ref().and_then(|s| s.tracking_number.as_deref())))
    .bind(column(orders, |o| o.shipment.as_ref().map(|s| at(s.updated_at_ms))))
    .bind(column(orders, |o| o.delivered_at_ms.map(at)))
    .bind(column(orders, |o| o.refunds.requested))
    .bind(column(orders, |o| o.refunds.done))
    .bind(column(orders, |o| o.cancellation.as_ref().map(|asked| at(asked.requested_at_ms))))
    .bind(column(orders, |o| o.cancellation.as_ref().and_then(|asked| asked.reason.as_deref())))
    .bind(column(orders, |o| o.cancellation.as_ref().and_then(|asked| asked.refused.as_deref())))
    .bind(column(orders, |o| o.payment.attempt))
    .execute(tx)
    .await?;
    Ok(())
}

/// Records transitions; `cause_of` names the event behind each.
pub async fn record(
    tx: &mut PgConnection,
    transitions: &[Transition],
    cause_of: impl Fn(usize) -> String,
) -> sqlx::Result<()> {
    if transitions.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO order_events (order_id, from_state, to_state, cause)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])",
    )
    .bind(column(transitions, |t| t.order_id))
    .bind(column(transitions, |t| t.from.map(super::super::domain::state::OrderState::as_str)))
    .bind(column(transitions, |t| t.to.as_str()))
    .bind(column(transitions, |t| cause_of(t.cause)))
    .execute(tx)
    .await?;
    Ok(())
}

async fn with_lines(connection: &mut PgConnection, rows: &[PgRow]) -> sqlx::Result<Vec<Order>> {
    let mut orders = rows.iter().map(read).collect::<sqlx::Result<Vec<_>>>()?;
    if orders.is_empty() {
        return Ok(orders);
    }
    let lines: Vec<(Uuid, String, i64, i64, i64)> = sqlx::query_as(
        "SELECT order_id, sku, quantity, unit_price, returned FROM order_lines
         WHERE order_id = ANY($1) ORDER BY sku",
    )
    .bind(column(&orders, |order| order.id))
    .fetch_all(&mut *connection)
    .await?;
    let mut by_order: HashMap<Uuid, Vec<Line>> = HashMap::with_capacity(orders.len());
    let mut with_returns = Vec::new();
    for (order, sku, quantity, unit_price, returned) in lines {
        by_order.entry(order).or_default().push(Line { sku, quantity, unit_price });
        if returned > 0 {
            with_returns.push(order);
        }
    }
    let mut returns = returns::of(connection, &with_returns).await?;
    for order in &mut orders {
        order.lines = by_order.remove(&order.id).unwrap_or_default();
        order.returns = returns.remove(&order.id).unwrap_or_default();
    }
    Ok(orders)
}

fn read(row: &PgRow) -> sqlx::Result<Order> {
    let state: &str = row.try_get("state")?;
    let payment_state: &str = row.try_get("payment_state")?;
    let moment = |column| row.try_get::<Option<OffsetDateTime>, _>(column).map(|found| found.map(ms));
    let shipment = match (row.try_get("shipment_id")?, moment("shipment_updated_at")?) {
        (Some(id), Some(updated_at_ms)) => {
            Some(Shipment { id, tracking_number: row.try_get("tracking_number")?, updated_at_ms })
        }
        _ => None,
    };
    let cancellation = match moment("cancel_requested_at")? {
        Some(requested_at_ms) => Some(Cancellation {
            reason: row.try_get("cancel_reason")?,
            requested_at_ms,
            refused: row.try_get("cancel_refused")?,
        }),
        None => None,
    };
    let payment_state =
        PaymentState::parse(payment_state).ok_or_else(|| unreadable("payment_state", payment_state))?;
    Ok(Order {
        id: row.try_get("id")?,
        sale_id: row.try_get("sale_id")?,
        buyer_id: row.try_get("buyer_id")?,
        state: state.parse().map_err(|_| unreadable("state", state))?,
        lines: Vec::new(),
        amount: row.try_get("amount")?,
        currency: row.try_get("currency")?,
        reserved_at_ms: ms(row.try_get("reserved_at")?),
        pay_by_ms: ms(row.try_get("pay_by")?),
        payment: Payment {
            state: payment_state,
            id: row.try_get("payment_id")?,
            method_id: row.try_get("payment_method_id")?,
            reason: row.try_get("payment_reason")?,
            attempt: payment_state.attempt(row.try_get("payment_attempt")?),
        },
        delivery_address_id: row.try_get("delivery_address_id")?,
        paid_at_ms: moment("paid_at")?,
        released_at_ms: moment("released_at")?,
        shipment,
        delivered_at_ms: moment("delivered_at")?,
        cancellation,
        returns: Vec::new(),
        refunds: Refunds { requested: row.try_get("refunds_requested")?, done: row.try_get("refunded")? },
    })
}
