//! Refunds on their way through the provider, handled like payments in [`super::charging`].

use std::time::Duration;

use rocketmart_kit::event::Event;
use rocketmart_kit::outbox;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::charging::interval;
use super::foreign_refunds::{TakenOver, take_over};
use super::refund_requests::{give_up, reserve};
use crate::domain::payment::call_key;
use crate::events::{self, Refund};
use crate::provider::Charge;

/// The pause of a refund that waits for other refunds of the same payment.
const AMONG_OTHERS: Duration = Duration::from_secs(5);

/// A refund whose turn it is.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct DueRefund {
    pub(crate) id: Uuid,
    pub(crate) charge_id: String,
    /// Minor units.
    pub(crate) amount: i64,
    /// What was asked for, if less was left to give back.
    pub(crate) asked_amount: Option<i64>,
    pub(crate) attempts: i32,
}

impl DueRefund {
    /// The provider's key. A smaller amount than was asked for has another key.
    pub(crate) fn key(&self) -> Uuid {
        match self.asked_amount {
            None => self.id,
            Some(_) => call_key(self.id, &self.amount.to_string()),
        }
    }
}

/// The result of an attempt to refund.
#[derive(Clone, Debug)]
pub(crate) enum RefundResult {
    Refunded {
        provider_refund_id: String,
    },
    /// The provider will not do it.
    Refused {
        /// The provider's code.
        reason: String,
        /// The provider's message, for whoever looks into it.
        failure: String,
        /// Nothing was refunded under this key, so another refund may use the money.
        surely_unmade: bool,
    },
    /// Some of the charge went back without us, and less is left than was asked for. This is the provider's
    /// record of it.
    LessIsLeft {
        charge: Charge,
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
         RETURNING r.id, p.provider_charge_id AS charge_id, r.amount, r.asked_amount, r.attempts",
    )
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .bind(interval(lease))
    .fetch_all(pool)
    .await
}

#[derive(sqlx::FromRow)]
struct SettledRow {
    id: Uuid,
    payment_id: Uuid,
    order_id: Uuid,
    amount: i64,
    currency: String,
    reason: String,
    reference: Option<Uuid>,
    traceparent: Option<String>,
}

impl SettledRow {
    /// With a `failure`, the event says that the refund failed, and why.
    fn event(&self, failure: Option<&str>) -> Event {
        let refund = Refund {
            payment_id: self.payment_id,
            refund_id: self.id,
            order_id: self.order_id,
            amount: self.amount,
            currency: &self.currency,
            reason: failure.unwrap_or(&self.reason),
            reference: self.reference,
        };
        let event =
            if failure.is_none() { events::refunded(&refund) } else { events::refund_failed(&refund) };
        event.in_trace(self.traceparent.as_deref())
    }
}

/// Records the results of a batch, with an event for each refund that was made or failed.
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
            RefundResult::Refused { reason, failure, surely_unmade } => {
                refuse(connection, refund.id, reason, failure, *surely_unmade).await?;
            }
            RefundResult::LessIsLeft { charge } => reduce(connection, refund, charge).await?,
            RefundResult::Postponed { pause } => postpone(connection, refund, *pause).await?,
        }
    }
    if refunded.is_empty() {
        return Ok(());
    }
    let rows: Vec<SettledRow> = sqlx::query_as(
        "UPDATE refunds r
         SET state = 'succeeded', provider_refund_id = d.provider_refund_id, settled_at = now(), due_at = NULL
         FROM unnest($1::uuid[], $2::text[]) AS d (id, provider_refund_id), payments p
         WHERE r.id = d.id AND p.id = r.payment_id AND r.state = 'processing'
         RETURNING r.id, r.payment_id, p.order_id, r.amount, p.currency, r.reason, r.reference, r.traceparent",
    )
    .bind(refunded)
    .bind(refund_ids)
    .fetch_all(&mut *connection)
    .await?;
    let events: Vec<Event> = rows.iter().map(|row| row.event(None)).collect();
    outbox::put(connection, events::PAYMENTS, &events).await
}

/// The amount becomes refundable again only if it surely was not refunded.
async fn refuse(
    connection: &mut PgConnection,
    id: Uuid,
    reason: &str,
    failure: &str,
    surely_unmade: bool,
) -> sqlx::Result<()> {
    let row: Option<SettledRow> = sqlx::query_as(
        "UPDATE refunds r SET state = 'failed', failure = $2, settled_at = now(), due_at = NULL
         FROM payments p
         WHERE r.id = $1 AND p.id = r.payment_id AND r.state = 'processing'
         RETURNING r.id, r.payment_id, p.order_id, r.amount, p.currency, r.reason, r.reference, r.traceparent",
    )
    .bind(id)
    .bind(failure)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(()) };
    if surely_unmade {
        give_up(connection, id).await?;
    }
    outbox::put(connection, events::PAYMENTS, &[row.event(Some(reason))]).await
}

/// Takes over what went back without us, and refunds the rest under another key. If nothing is left, the
/// refund counts as made, of nothing.
async fn reduce(connection: &mut PgConnection, refund: &DueRefund, charge: &Charge) -> sqlx::Result<()> {
    let is_open: Option<bool> =
        sqlx::query_scalar("SELECT state = 'processing' FROM refunds WHERE id = $1 FOR UPDATE")
            .bind(refund.id)
            .fetch_optional(&mut *connection)
            .await?;
    if is_open != Some(true) {
        return Ok(());
    }
    give_up(connection, refund.id).await?;
    let taken_over = take_over(connection, &charge.id, charge.refunded, None, Some(refund.id)).await?;
    let others_first = taken_over == TakenOver::NotYet;
    let left = if others_first { refund.amount } else { refund.amount.min(charge.amount - charge.refunded) };
    let reduced: SettledRow = sqlx::query_as(
        "UPDATE refunds r SET amount = $2,
             asked_amount = CASE WHEN $2 < r.amount THEN coalesce(asked_amount, r.amount) ELSE asked_amount END,
             state = CASE WHEN $2 = 0 THEN 'succeeded' ELSE r.state END,
             provider_refund_id = CASE WHEN $2 = 0 THEN 'nothing/' || r.id END,
             settled_at = CASE WHEN $2 = 0 THEN now() END,
             due_at = CASE WHEN $2 = 0 THEN NULL ELSE now() + $3 END
         FROM payments p WHERE r.id = $1 AND p.id = r.payment_id
         RETURNING r.id, r.payment_id, p.order_id, r.amount, p.currency, r.reason, r.reference, r.traceparent",
    )
    .bind(refund.id)
    .bind(left)
    .bind(interval(if others_first { AMONG_OTHERS } else { Duration::ZERO }))
    .fetch_one(&mut *connection)
    .await?;
    reserve(connection, reduced.payment_id, left).await?;
    if left == 0 {
        return outbox::put(connection, events::PAYMENTS, &[reduced.event(None)]).await;
    }
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
