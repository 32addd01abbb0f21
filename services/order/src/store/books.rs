//! What the close-out reads: every order of a sale, every charge that was reported, and what is still under
//! way.

use std::collections::BTreeMap;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::unreadable;
use crate::domain::close_out::{Booked, Charge, ChargeOutcome, Refund};
use crate::domain::order::Line;

/// Notes what the payment service reported about charges. News of a single charge only moves forward.
pub async fn note_charges(tx: &mut PgConnection, charges: &BTreeMap<Uuid, Charge>) -> sqlx::Result<()> {
    if charges.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO payments_seen AS seen (payment_id, order_id, outcome, amount)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[])
         ON CONFLICT (payment_id) DO UPDATE
         SET outcome = excluded.outcome, amount = coalesce(excluded.amount, seen.amount), seen_at = now()
         WHERE seen.outcome = 'failed'",
    )
    .bind(charges.keys().copied().collect::<Vec<_>>())
    .bind(charges.values().map(|charge| charge.order_id).collect::<Vec<_>>())
    .bind(charges.values().map(|charge| charge.outcome.as_str()).collect::<Vec<_>>())
    .bind(charges.values().map(|charge| charge.amount).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

/// Notes money that went back, each refund once. A charge that went back whole is `refunded`, even if its
/// success was never reported.
pub async fn note_refunds(tx: &mut PgConnection, refunds: &BTreeMap<Uuid, Refund>) -> sqlx::Result<()> {
    if refunds.is_empty() {
        return Ok(());
    }
    let payments: Vec<Uuid> = refunds.values().map(|refund| refund.payment_id).collect();
    let orders: Vec<Uuid> = refunds.values().map(|refund| refund.order_id).collect();
    sqlx::query(
        "INSERT INTO refunds_seen (refund_id, payment_id, order_id, amount)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[]) ON CONFLICT DO NOTHING",
    )
    .bind(refunds.keys().copied().collect::<Vec<_>>())
    .bind(&payments)
    .bind(&orders)
    .bind(refunds.values().map(|refund| refund.amount).collect::<Vec<_>>())
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO payments_seen (payment_id, order_id, outcome)
         SELECT DISTINCT payment_id, order_id, 'refunded'
         FROM unnest($1::uuid[], $2::uuid[]) AS told (payment_id, order_id)
         ON CONFLICT DO NOTHING",
    )
    .bind(&payments)
    .bind(&orders)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE payments_seen AS seen SET outcome = 'refunded', seen_at = now()
         WHERE payment_id = ANY($1) AND amount <= (SELECT sum(amount) FROM refunds_seen AS back
                                                   WHERE back.payment_id = seen.payment_id)",
    )
    .bind(&payments)
    .execute(tx)
    .await?;
    Ok(())
}

/// Every order of a sale.
pub async fn orders(connection: &mut PgConnection, sale: Uuid) -> sqlx::Result<Vec<Booked>> {
    type Row = (Uuid, Uuid, String, i64, bool, i64, Option<Uuid>, Vec<String>, Vec<i64>, Vec<i64>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, buyer_id, state, amount, paid_at IS NOT NULL, refunds_requested, payment_id,
             array_agg(sku ORDER BY sku), array_agg(quantity ORDER BY sku), array_agg(unit_price ORDER BY sku)
         FROM orders JOIN order_lines ON order_lines.order_id = orders.id
         WHERE sale_id = $1 GROUP BY orders.id",
    )
    .bind(sale)
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(
            |(
                order_id,
                buyer_id,
                state,
                amount,
                was_paid,
                given_back,
                payment_id,
                skus,
                quantities,
                prices,
            )| {
                let lines = skus.into_iter().zip(quantities).zip(prices);
                Ok(Booked {
                    order_id,
                    buyer_id,
                    state: state.parse().map_err(|_| unreadable("state", &state))?,
                    lines: lines
                        .map(|((sku, quantity), unit_price)| Line { sku, quantity, unit_price })
                        .collect(),
                    amount,
                    was_paid,
                    given_back,
                    payment_id,
                })
            },
        )
        .collect()
}

/// Every charge reported for one of `orders`.
pub async fn charges(connection: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<Vec<Charge>> {
    let rows: Vec<(Uuid, Uuid, String, Option<i64>, i64)> = sqlx::query_as(
        "SELECT payment_id, order_id, outcome, amount,
             coalesce((SELECT sum(amount) FROM refunds_seen AS back
                       WHERE back.payment_id = seen.payment_id), 0)::bigint
         FROM payments_seen AS seen WHERE order_id = ANY($1)",
    )
    .bind(orders)
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|(payment_id, order_id, outcome, amount, refunded)| {
            let outcome = ChargeOutcome::parse(&outcome).ok_or_else(|| unreadable("outcome", &outcome))?;
            Ok(Charge { payment_id, order_id, outcome, amount, refunded })
        })
        .collect()
}

/// For one sale: how many events are still to be published, and how many requested payments have no known
/// outcome.
pub async fn outstanding(pool: &PgPool, sale: Uuid) -> sqlx::Result<(i64, i64)> {
    sqlx::query_as(
        "SELECT
             (SELECT count(*) FROM outbox JOIN orders ON orders.id = outbox.key::uuid
              WHERE sale_id = $1 AND position >= (SELECT before FROM outbox_sent)),
             (SELECT count(*) FROM orders
              WHERE sale_id = $1 AND payment_state IN ('requested', 'refund_requested'))
             + (SELECT count(*) FROM parked_payments WHERE sale_id = $1)",
    )
    .bind(sale)
    .fetch_one(pool)
    .await
}

/// The ids among `ids` that a worker has received and committed.
pub async fn received(pool: &PgPool, ids: &[String]) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("SELECT id FROM inbox WHERE id = ANY($1)").bind(ids).fetch_all(pool).await
}

/// Forgets ids received more than `age` ago, and returns how many.
pub async fn forget_received(pool: &PgPool, age: time::Duration) -> sqlx::Result<u64> {
    let done = sqlx::query("DELETE FROM inbox WHERE received_at < $1")
        .bind(time::OffsetDateTime::now_utc() - age)
        .execute(pool)
        .await?;
    Ok(done.rows_affected())
}
