//! Refunds on their way through the provider, in the same manner as [`super::charging`].

use std::time::Duration;

use rocketmart_kit::event::Event;
use rocketmart_kit::outbox;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::charging::interval;
use crate::events;

/// A refund whose turn it is.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct DueRefund {
    pub(crate) id: Uuid,
    pub(crate) charge_id: String,
    /// Minor units.
    pub(crate) amount: i64,
    pub(crate) attempts: i32,
}

/// How an attempt to refund ended.
#[derive(Clone, Debug)]
pub(crate) enum RefundResult {
    Refunded {
        provider_refund_id: String,
    },
    /// The provider will not do it: a person has to look.
    Refused {
        failure: String,
    },
    Postponed {
        pause: Duration,
    },
}

pub(crate) async fn claim(pool: &PgPool, limit: usize, lease: Duration) -> sqlx::Result<Vec<DueRefund>> {
    sqlx::query_as(
        "WITH due AS (
             SELECT id FROM refunds
             WHERE state IN ('requested', 'processing') AND due_at <= now()
             ORDER BY due_at LIMIT $1
             FOR UPDATE SKIP LOCKED)
         UPDATE refunds r
         SET state = 'processing', attempts = r.attempts + 1, due_at = now() + $2
         FROM due, payments p
         WHERE r.id = due.id AND p.id = r.payment_id
         RETURNING r.id, p.provider_charge_id AS charge_id, r.amount, r.attempts",
    )
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .bind(interval(lease))
    .fetch_all(pool)
    .await
}

#[derive(sqlx::FromRow)]
struct RefundedRow {
    id: Uuid,
    payment_id: Uuid,
    order_id: Uuid,
    amount: i64,
    currency: String,
    reason: String,
    traceparent: Option<String>,
}

/// Writes the results of a batch, with an event for each refund made.
pub(crate) async fn record(
    connection: &mut PgConnection,
    results: &[(DueRefund, RefundResult)],
) -> sqlx::Result<()> {
    let (mut refunded, mut refund_ids) = (Vec::new(), Vec::new());
    for (refund, result) in results {
        match result {
            RefundResult::Refunded { provider_refund_id } => {
                refunded.push(refund.id);
                refund_ids.push(provider_refund_id.as_str());
            }
            RefundResult::Refused { failure } => refuse(connection, refund.id, failure).await?,
            RefundResult::Postponed { pause } => postpone(connection, refund, *pause).await?,
        }
    }
    if refunded.is_empty() {
        return Ok(());
    }
    let rows: Vec<RefundedRow> = sqlx::query_as(
        "UPDATE refunds r
         SET state = 'succeeded', provider_refund_id = d.provider_refund_id, settled_at = now(), due_at = NULL
         FROM unnest($1::uuid[], $2::text[]) AS d (id, provider_refund_id), payments p
         WHERE r.id = d.id AND p.id = r.payment_id AND r.state = 'processing'
         RETURNING r.id, r.payment_id, p.order_id, r.amount, p.currency, r.reason, r.traceparent",
    )
    .bind(refunded)
    .bind(refund_ids)
    .fetch_all(&mut *connection)
    .await?;
    let events: Vec<Event> = rows
        .iter()
        .map(|r| {
            let event = events::refunded(r.payment_id, r.id, r.order_id, r.amount, &r.currency, &r.reason);
            events::in_trace(event, r.traceparent.as_deref())
        })
        .collect();
    outbox::put(connection, events::PAYMENTS, &events).await
}

/// The amount stays reserved on the payment: nobody knows yet that it may be refunded again.
async fn refuse(connection: &mut PgConnection, id: Uuid, failure: &str) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE refunds SET state = 'failed', failure = $2, settled_at = now(), due_at = NULL
         WHERE id = $1 AND state = 'processing'",
    )
    .bind(id)
    .bind(failure)
    .execute(connection)
    .await?;
    Ok(())
}

async fn postpone(connection: &mut PgConnection, refund: &DueRefund, pause: Duration) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE refunds SET due_at = now() + $3 WHERE id = $1 AND state = 'processing' AND attempts = $2",
    )
    .bind(refund.id)
    .bind(refund.attempts)
    .bind(interval(pause))
    .execute(connection)
    .await?;
    Ok(())
}
