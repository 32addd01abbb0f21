//! What a sale is rebuilt from after Redis has lost it, and the record of each rebuild.

use std::collections::BTreeMap;

use rocketmart_contracts::event::{Payload as _, PaymentSucceeded, Reserved};
use rocketmart_contracts::internal_api::Rebuilt;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use super::clock::ms;
use super::{column, unreadable};
use crate::domain::order::{Line, PaymentState};
use crate::domain::rebuild::Remembered;

/// What makes a repeated purchase the same purchase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub order_id: Uuid,
    pub idempotency_key: String,
    pub request_hash: String,
}

impl Wish {
    /// `None`: a Redis of an older version reported it.
    pub fn of(event: &Reserved) -> Option<Self> {
        let (idempotency_key, request_hash) =
            event.idempotency_key.clone().zip(event.request_hash.clone())?;
        Some(Self { order_id: event.order_id, idempotency_key, request_hash })
    }
}

/// Keeps the wishes that led to new orders.
pub async fn note_wishes(tx: &mut PgConnection, wishes: &[Wish]) -> sqlx::Result<()> {
    if wishes.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO wishes (order_id, idempotency_key, request_hash)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[]) ON CONFLICT DO NOTHING",
    )
    .bind(column(wishes, |wish| wish.order_id))
    .bind(column(wishes, |wish| wish.idempotency_key.as_str()))
    .bind(column(wishes, |wish| wish.request_hash.as_str()))
    .execute(tx)
    .await?;
    Ok(())
}

/// This buyer's wish for which the sale has an order under this key.
pub async fn wish(pool: &PgPool, sale: Uuid, buyer: Uuid, key: &str) -> sqlx::Result<Option<Wish>> {
    let row: Option<(Uuid, String, String)> = sqlx::query_as(
        "SELECT order_id, idempotency_key, request_hash FROM wishes JOIN orders ON orders.id = order_id
         WHERE sale_id = $1 AND buyer_id = $2 AND idempotency_key = $3",
    )
    .bind(sale)
    .bind(buyer)
    .bind(key)
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|(order_id, idempotency_key, request_hash)| Wish { order_id, idempotency_key, request_hash }))
}

/// An incarnation that has begun.
#[derive(Clone, Debug)]
pub struct Begun {
    pub incarnation: i32,
    pub void_until_ms: i64,
    pub reason: String,
}

/// Begins the next incarnation of a sale in doubt; `None` when the sale is no longer in doubt. It waits for
/// every batch about the sale that is being written; later batches find it begun. The stream restarts after
/// `now_ms` and after everything that ever left it.
pub async fn begin(
    tx: &mut PgConnection,
    sale: Uuid,
    fence: i64,
    now_ms: i64,
) -> sqlx::Result<Option<Begun>> {
    sqlx::query("SELECT 1 FROM sales WHERE id = $1 FOR UPDATE").bind(sale).execute(&mut *tx).await?;
    let row: Option<(i32, i64, String)> = sqlx::query_as(
        "UPDATE sales SET incarnation = incarnation + 1, fence = $2, books_decide = false,
             void_until_ms = greatest($3, void_until_ms,
                 (SELECT ms FROM stream_positions WHERE sale_id = sales.id)) + 1000
         WHERE id = $1 AND doubt IS NOT NULL RETURNING incarnation, void_until_ms, doubt",
    )
    .bind(sale)
    .bind(fence)
    .bind(now_ms)
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|(incarnation, void_until_ms, reason)| Begun { incarnation, void_until_ms, reason }))
}

/// Whether this incarnation is still the present one, and unfinished.
pub async fn is_present(tx: &mut PgConnection, sale: Uuid, incarnation: i32) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM sales WHERE id = $1 AND incarnation = $2 AND doubt IS NOT NULL)",
    )
    .bind(sale)
    .bind(incarnation)
    .fetch_one(tx)
    .await
}

/// Ends the doubt and records what was found. `false`: somebody else has begun since.
pub async fn finish(tx: &mut PgConnection, sale: Uuid, begun: &Begun, orders: i64) -> sqlx::Result<bool> {
    let noted = sqlx::query(
        "INSERT INTO rebuilds (sale_id, incarnation, reason, orders, parked, unknown_from, unknown_until)
         SELECT id, incarnation, doubt, $3,
             (SELECT count(*) FROM parked_payments AS parked WHERE parked.sale_id = sales.id),
             least(doubted_at, coalesce(
                 (SELECT max(reserved_at) FROM orders WHERE orders.sale_id = sales.id), opens_at)),
             doubted_at
         FROM sales WHERE id = $1 AND incarnation = $2 AND doubt IS NOT NULL",
    )
    .bind(sale)
    .bind(begun.incarnation)
    .bind(orders)
    .execute(&mut *tx)
    .await?;
    if noted.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("UPDATE sales SET doubt = NULL, doubted_at = NULL, drained = false WHERE id = $1")
        .bind(sale)
        .execute(tx)
        .await?;
    Ok(true)
}

/// Counts reservations that came too late for the last rebuild of their sale.
pub async fn note_late(tx: &mut PgConnection, late: &BTreeMap<Uuid, i64>) -> sqlx::Result<()> {
    for (sale, reservations) in late.iter().filter(|(_, reservations)| **reservations > 0) {
        sqlx::query(
            "UPDATE rebuilds SET late_reservations = late_reservations + $2 WHERE sale_id = $1
             AND incarnation = (SELECT max(incarnation) FROM rebuilds WHERE sale_id = $1)",
        )
        .bind(sale)
        .bind(reservations)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// The last rebuild of a sale.
pub async fn last(pool: &PgPool, sale: Uuid) -> sqlx::Result<Option<Rebuilt>> {
    let row = sqlx::query("SELECT * FROM rebuilds WHERE sale_id = $1 ORDER BY incarnation DESC LIMIT 1")
        .bind(sale)
        .fetch_optional(pool)
        .await?;
    row.map(|row| {
        Ok(Rebuilt {
            incarnation: row.try_get("incarnation")?,
            reason: row.try_get("reason")?,
            rebuilt_at: row.try_get("rebuilt_at")?,
            orders: row.try_get("orders")?,
            parked: row.try_get("parked")?,
            unknown_from: row.try_get("unknown_from")?,
            unknown_until: row.try_get("unknown_until")?,
            late_reservations: row.try_get("late_reservations")?,
        })
    })
    .transpose()
}

/// Every order of a sale, with what Redis has to know about it.
pub async fn orders(connection: &mut PgConnection, sale: Uuid) -> sqlx::Result<Vec<Remembered>> {
    let rows = sqlx::query(
        "SELECT orders.id, buyer_id, state, paid_at IS NOT NULL AS was_paid, payment_state, payment_attempt, amount,
             reserved_at, pay_by, payment_method_id, delivery_address_id, idempotency_key, request_hash,
             EXISTS (SELECT 1 FROM parked_payments AS parked
                     WHERE parked.sale_id = $1 AND parked.order_id = orders.id AND type = $2) AS payment_waits,
             array_agg(sku ORDER BY sku) AS skus, array_agg(quantity ORDER BY sku) AS quantities,
             array_agg(unit_price ORDER BY sku) AS prices
         FROM orders JOIN order_lines ON order_lines.order_id = orders.id
             LEFT JOIN wishes ON wishes.order_id = orders.id
         WHERE orders.sale_id = $1 GROUP BY orders.id, wishes.order_id ORDER BY orders.id",
    )
    .bind(sale)
    .bind(PaymentSucceeded::TYPE)
    .fetch_all(connection)
    .await?;
    rows.iter().map(read).collect()
}

fn read(row: &PgRow) -> sqlx::Result<Remembered> {
    let state: &str = row.try_get("state")?;
    let payment: &str = row.try_get("payment_state")?;
    let (skus, quantities, prices): (Vec<String>, Vec<i64>, Vec<i64>) =
        (row.try_get("skus")?, row.try_get("quantities")?, row.try_get("prices")?);
    let lines = skus.into_iter().zip(quantities).zip(prices);
    let key: Option<String> = row.try_get("idempotency_key")?;
    let hash: Option<String> = row.try_get("request_hash")?;
    let payment = PaymentState::parse(payment).ok_or_else(|| unreadable("payment_state", payment))?;
    Ok(Remembered {
        order_id: row.try_get("id")?,
        buyer_id: row.try_get("buyer_id")?,
        state: state.parse().map_err(|_| unreadable("state", state))?,
        was_paid: row.try_get("was_paid")?,
        payment,
        payment_attempt: payment.attempt(row.try_get("payment_attempt")?),
        payment_waits: row.try_get("payment_waits")?,
        lines: lines.map(|((sku, quantity), unit_price)| Line { sku, quantity, unit_price }).collect(),
        amount: row.try_get("amount")?,
        reserved_at_ms: ms(row.try_get("reserved_at")?),
        pay_by_ms: ms(row.try_get("pay_by")?),
        payment_method_id: row.try_get("payment_method_id")?,
        delivery_address_id: row.try_get("delivery_address_id")?,
        wish: key.zip(hash),
    })
}
