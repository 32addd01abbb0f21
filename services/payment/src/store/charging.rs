//! Payments on their way through the provider: taken up under a lease, settled with their event.

use std::time::Duration;

use rocketmart_kit::event::Event;
use rocketmart_kit::outbox;
use sqlx::postgres::types::PgInterval;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::payment::{DuePayment, Settlement};
use crate::events;

#[derive(sqlx::FromRow)]
struct DueRow {
    id: Uuid,
    order_id: Uuid,
    amount: i64,
    currency: String,
    provider_token: String,
    pay_by: OffsetDateTime,
    released: bool,
    may_be_charged: bool,
    attempts: i32,
    now: OffsetDateTime,
}

/// Takes up to `limit` due payments, oldest first, and leaves each to the caller for `lease`: a worker
/// that dies with them loses them to another one then. Also answers the database's time.
///
/// The state says `processing` before the provider is called, so that a crash in between leaves
/// "may have been charged" behind and never "surely not".
pub(crate) async fn claim(
    pool: &PgPool,
    limit: usize,
    lease: Duration,
) -> sqlx::Result<Vec<(DuePayment, OffsetDateTime)>> {
    let rows: Vec<DueRow> = sqlx::query_as(
        "WITH due AS (
             SELECT id, state FROM payments
             WHERE state IN ('requested', 'processing') AND due_at <= now()
             ORDER BY due_at LIMIT $1
             FOR UPDATE SKIP LOCKED)
         UPDATE payments p
         SET state = 'processing', attempts = p.attempts + 1, due_at = now() + $2
         FROM due WHERE p.id = due.id
         RETURNING p.id, p.order_id, p.amount, p.currency, p.provider_token, p.pay_by, p.released,
                   due.state = 'processing' AS may_be_charged, p.attempts, now() AS now",
    )
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .bind(interval(lease))
    .fetch_all(pool)
    .await?;
    let due = rows.into_iter().map(|row| {
        let payment = DuePayment {
            id: row.id,
            order_id: row.order_id,
            amount: row.amount,
            currency: row.currency,
            provider_token: row.provider_token,
            pay_by: row.pay_by,
            released: row.released,
            may_be_charged: row.may_be_charged,
            attempt: row.attempts,
        };
        (payment, row.now)
    });
    Ok(due.collect())
}

/// An attempt that ended without a result.
#[derive(Clone, Debug)]
pub(crate) struct Postponed {
    pub(crate) payment_id: Uuid,
    pub(crate) attempt: i32,
    pub(crate) pause: Duration,
    /// The provider has surely seen nothing of this payment, in this attempt or before.
    pub(crate) surely_unsent: bool,
}

/// Gives payments back for a later attempt; one that another worker has taken up since is left alone.
pub(crate) async fn postpone(connection: &mut PgConnection, attempts: &[Postponed]) -> sqlx::Result<()> {
    if attempts.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE payments p
         SET due_at = now() + a.pause,
             state = CASE WHEN a.surely_unsent THEN 'requested' ELSE p.state END
         FROM unnest($1::uuid[], $2::int[], $3::interval[], $4::boolean[]) AS a (id, attempt, pause, surely_unsent)
         WHERE p.id = a.id AND p.state = 'processing' AND p.attempts = a.attempt",
    )
    .bind(attempts.iter().map(|a| a.payment_id).collect::<Vec<_>>())
    .bind(attempts.iter().map(|a| a.attempt).collect::<Vec<_>>())
    .bind(attempts.iter().map(|a| interval(a.pause)).collect::<Vec<_>>())
    .bind(attempts.iter().map(|a| a.surely_unsent).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes how payments ended, each with its event; one that has ended before is left as it is, so a
/// result that comes twice (a call-back and an answer, two workers) tells its event once.
///
/// Answers the ids that this call has settled.
pub(crate) async fn settle(
    connection: &mut PgConnection,
    settlements: &[(Uuid, Settlement)],
) -> sqlx::Result<Vec<Uuid>> {
    let mut ids = Vec::with_capacity(settlements.len());
    let mut states = Vec::with_capacity(settlements.len());
    let mut charges: Vec<Option<&str>> = Vec::with_capacity(settlements.len());
    let mut charged: Vec<Option<OffsetDateTime>> = Vec::with_capacity(settlements.len());
    let mut reasons: Vec<Option<&str>> = Vec::with_capacity(settlements.len());
    for (id, settlement) in settlements {
        let (state, charge, at, reason) = match settlement {
            Settlement::Charged { charge_id, charged_at } => {
                ("succeeded", Some(charge_id.as_str()), Some(*charged_at), None)
            }
            Settlement::Failed { reason } => ("failed", None, None, Some(reason.as_str())),
            Settlement::Voided { reason } => ("voided", None, None, Some(reason.as_str())),
        };
        ids.push(*id);
        states.push(state);
        charges.push(charge);
        charged.push(at);
        reasons.push(reason);
    }
    if ids.is_empty() {
        return Ok(ids);
    }
    let settled: Vec<SettledRow> = sqlx::query_as(
        "UPDATE payments p
         SET state = s.state, provider_charge_id = s.charge_id, charged_at = s.charged_at, reason = s.reason,
             settled_at = now(), due_at = NULL
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[])
              AS s (id, state, charge_id, charged_at, reason)
         WHERE p.id = s.id AND p.state IN ('requested', 'processing')
         RETURNING p.id, p.order_id, p.amount, p.currency, p.reason, p.settled_at, p.traceparent",
    )
    .bind(ids)
    .bind(states)
    .bind(charges)
    .bind(charged)
    .bind(reasons)
    .fetch_all(&mut *connection)
    .await?;
    let events: Vec<Event> = settled.iter().map(SettledRow::event).collect();
    outbox::put(connection, events::PAYMENTS, &events).await?;
    Ok(settled.into_iter().map(|row| row.id).collect())
}

#[derive(sqlx::FromRow)]
struct SettledRow {
    id: Uuid,
    order_id: Uuid,
    amount: i64,
    currency: String,
    reason: Option<String>,
    settled_at: OffsetDateTime,
    traceparent: Option<String>,
}

impl SettledRow {
    fn event(&self) -> Event {
        let event = match &self.reason {
            None => events::succeeded(self.id, self.order_id, self.amount, &self.currency, self.settled_at),
            Some(reason) => events::failed(self.id, self.order_id, reason),
        };
        events::in_trace(event, self.traceparent.as_deref())
    }
}

pub(super) fn interval(duration: Duration) -> PgInterval {
    let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}
