//! Payments as their buyers see them.

use std::collections::HashMap;

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct PaymentRow {
    pub(crate) id: Uuid,
    pub(crate) order_id: Uuid,
    pub(crate) payment_method_id: Option<Uuid>,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) request: i32,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) refunded: i64,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) settled_at: Option<OffsetDateTime>,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct RefundRow {
    pub(crate) id: Uuid,
    pub(crate) payment_id: Uuid,
    pub(crate) amount: i64,
    pub(crate) reason: String,
    pub(crate) reference: Option<Uuid>,
    pub(crate) state: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) settled_at: Option<OffsetDateTime>,
}

/// Where a page of payments ended.
pub(crate) type Place = (OffsetDateTime, Uuid);

/// Newest first, at most `limit`, those after `after` in that order.
pub(crate) async fn list(
    pool: &PgPool,
    buyer: Uuid,
    after: Option<Place>,
    limit: i64,
) -> sqlx::Result<Vec<PaymentRow>> {
    let (created_at, id) = after.unzip();
    sqlx::query_as(
        "SELECT id, order_id, payment_method_id, state, reason, request, amount, currency, refunded, created_at,
                settled_at
         FROM payments
         WHERE buyer_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
         ORDER BY created_at DESC, id DESC LIMIT $4",
    )
    .bind(buyer)
    .bind(created_at)
    .bind(id)
    .bind(limit)
    .fetch_all(pool)
    .await
}

pub(crate) async fn one(pool: &PgPool, buyer: Uuid, id: Uuid) -> sqlx::Result<Option<PaymentRow>> {
    sqlx::query_as(
        "SELECT id, order_id, payment_method_id, state, reason, request, amount, currency, refunded, created_at,
                settled_at
         FROM payments WHERE buyer_id = $1 AND id = $2",
    )
    .bind(buyer)
    .bind(id)
    .fetch_optional(pool)
    .await
}

/// The refunds of the given payments, oldest first, by payment.
pub(crate) async fn refunds(pool: &PgPool, payments: &[Uuid]) -> sqlx::Result<HashMap<Uuid, Vec<RefundRow>>> {
    let rows: Vec<RefundRow> = sqlx::query_as(
        "SELECT id, payment_id, amount, reason, reference, state, created_at, settled_at
         FROM refunds WHERE payment_id = ANY($1) ORDER BY created_at, id",
    )
    .bind(payments)
    .fetch_all(pool)
    .await?;
    let mut by_payment: HashMap<Uuid, Vec<RefundRow>> = HashMap::new();
    for row in rows {
        by_payment.entry(row.payment_id).or_default().push(row);
    }
    Ok(by_payment)
}
