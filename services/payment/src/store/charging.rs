//! Payments on their way through the provider: claimed under a lease, settled together with their event.

use std::time::Duration;

use rocketmart_kit::event::Event;
use rocketmart_kit::outbox;
use sqlx::postgres::types::PgInterval;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::payment::{Capture, DuePayment, Seen, Settlement};
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
    request: i32,
    capture: String,
    state_before: String,
    provider_authorization_id: Option<String>,
    attempts: i32,
    was_due_at: OffsetDateTime,
    now: OffsetDateTime,
}

/// A claimed payment, when it was due, and the database's time.
pub(crate) struct Claimed {
    pub(crate) payment: DuePayment,
    pub(crate) was_due_at: OffsetDateTime,
    pub(crate) now: OffsetDateTime,
}

/// Claims up to `limit` due payments, oldest first, and leaves each to the caller for `lease`: if a worker
/// dies with them, another one gets them after that. New payments take the way of `capture`. What was due
/// before `from` is left alone.
///
/// The state records what the provider may see before we call it. So a crash in between leaves "may have been
/// charged" behind and never "surely not".
pub(crate) async fn claim(
    pool: &PgPool,
    limit: usize,
    from: OffsetDateTime,
    lease: Duration,
    capture: Capture,
) -> sqlx::Result<Vec<Claimed>> {
    let rows: Vec<DueRow> = sqlx::query_as(
        "WITH due AS (
             SELECT id, state, due_at FROM payments
             WHERE due_at BETWEEN $4 AND now()
             ORDER BY due_at LIMIT $1
             FOR UPDATE SKIP LOCKED)
         UPDATE payments p
         SET state = CASE p.state WHEN 'requested' THEN 'processing' WHEN 'authorized' THEN 'capturing'
                                  ELSE p.state END,
             capture = CASE p.state WHEN 'requested' THEN $3 ELSE coalesce(p.capture, $3) END,
             attempts = p.attempts + 1, due_at = now() + $2
         FROM due WHERE p.id = due.id
         RETURNING p.id, p.order_id, p.amount, p.currency, p.provider_token, p.pay_by, p.released, p.request,
                   coalesce(p.capture, 'automatic') AS capture, due.state AS state_before,
                   p.provider_authorization_id, p.attempts, due.due_at AS was_due_at, now() AS now",
    )
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .bind(interval(lease))
    .bind(capture.as_str())
    .bind(from)
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(DueRow::claimed).collect()
}

impl DueRow {
    fn claimed(self) -> sqlx::Result<Claimed> {
        let odd = |what: String| sqlx::Error::Decode(format!("payment {}: {what}", self.id).into());
        let capture =
            Capture::parse(&self.capture).ok_or_else(|| odd(format!("capture {:?}", self.capture)))?;
        let seen = match (self.state_before.as_str(), self.provider_authorization_id) {
            ("requested", _) => Seen::Nothing,
            ("processing", _) => Seen::FirstCall,
            ("authorized", Some(id)) => Seen::Authorization(id),
            ("capturing", Some(id)) => Seen::CaptureOf(id),
            _ => return Err(odd(format!("state {:?} cannot be due", self.state_before))),
        };
        let payment = DuePayment {
            id: self.id,
            order_id: self.order_id,
            amount: self.amount,
            currency: self.currency,
            provider_token: self.provider_token,
            pay_by: self.pay_by,
            released: self.released,
            request: self.request,
            capture,
            seen,
            attempt: self.attempts,
        };
        Ok(Claimed { payment, was_due_at: self.was_due_at, now: self.now })
    }
}

/// An attempt that ended without a result.
#[derive(Clone, Debug)]
pub(crate) struct Postponed {
    pub(crate) payment_id: Uuid,
    pub(crate) attempt: i32,
    pub(crate) pause: Duration,
    /// Set if the provider surely saw nothing of this attempt: the payment goes back to this state, which it
    /// had before.
    pub(crate) back_to: Option<&'static str>,
}

/// Returns payments for a later attempt. A payment that another worker has claimed since is left alone.
pub(crate) async fn postpone(connection: &mut PgConnection, attempts: &[Postponed]) -> sqlx::Result<()> {
    if attempts.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE payments p
         SET due_at = now() + a.pause,
             state = coalesce(a.back_to, p.state)
         FROM unnest($1::uuid[], $2::int[], $3::interval[], $4::text[]) AS a (id, attempt, pause, back_to)
         WHERE p.id = a.id AND p.state IN ('processing', 'capturing') AND p.attempts = a.attempt",
    )
    .bind(attempts.iter().map(|a| a.payment_id).collect::<Vec<_>>())
    .bind(attempts.iter().map(|a| a.attempt).collect::<Vec<_>>())
    .bind(attempts.iter().map(|a| interval(a.pause)).collect::<Vec<_>>())
    .bind(attempts.iter().map(|a| a.back_to).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Has an unfinished payment looked at again soon. The provider reported something about it that only the
/// answer to our own call can confirm, and by then that answer may have come by itself.
pub(crate) async fn look_again(connection: &mut PgConnection, id: Uuid, after: Duration) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE payments SET due_at = least(due_at, now() + $2)
         WHERE id = $1 AND state IN ('processing', 'capturing')",
    )
    .bind(id)
    .bind(interval(after))
    .execute(connection)
    .await?;
    Ok(())
}

/// Records that money is set aside, to be captured when its turn comes. A payment that is further along or
/// has ended stays as it is.
///
/// Returns how many payments this call moved on.
pub(crate) async fn authorize(
    connection: &mut PgConnection,
    authorizations: &[(Uuid, String)],
) -> sqlx::Result<u64> {
    if authorizations.is_empty() {
        return Ok(0);
    }
    let (ids, authorization_ids): (Vec<Uuid>, Vec<&str>) =
        authorizations.iter().map(|(id, authorization)| (*id, authorization.as_str())).unzip();
    let moved = sqlx::query(
        "UPDATE payments p
         SET state = 'authorized', provider_authorization_id = a.authorization_id, authorized_at = now(),
             due_at = now()
         FROM unnest($1::uuid[], $2::text[]) AS a (id, authorization_id)
         WHERE p.id = a.id AND p.state = 'processing'",
    )
    .bind(ids)
    .bind(authorization_ids)
    .execute(connection)
    .await?;
    Ok(moved.rows_affected())
}

/// Like [`authorize`], and claims what it moved on for the capture, under a lease as [`claim`] does: one
/// write, and no search for what this worker already has. It notices an order that was released meanwhile,
/// before anything is captured.
///
/// Once this is committed, the payments are the caller's to capture.
pub(crate) async fn authorize_and_claim(
    connection: &mut PgConnection,
    authorizations: &[(Uuid, String)],
    lease: Duration,
) -> sqlx::Result<Vec<Claimed>> {
    if authorizations.is_empty() {
        return Ok(Vec::new());
    }
    let (ids, authorization_ids): (Vec<Uuid>, Vec<&str>) =
        authorizations.iter().map(|(id, authorization)| (*id, authorization.as_str())).unzip();
    let rows: Vec<DueRow> = sqlx::query_as(
        "UPDATE payments p
         SET state = 'capturing', provider_authorization_id = a.authorization_id, authorized_at = now(),
             attempts = p.attempts + 1, due_at = now() + $3
         FROM unnest($1::uuid[], $2::text[]) AS a (id, authorization_id)
         WHERE p.id = a.id AND p.state = 'processing'
         RETURNING p.id, p.order_id, p.amount, p.currency, p.provider_token, p.pay_by, p.released, p.request,
                   coalesce(p.capture, 'automatic') AS capture, 'authorized' AS state_before,
                   p.provider_authorization_id, p.attempts, now() AS was_due_at, now() AS now",
    )
    .bind(ids)
    .bind(authorization_ids)
    .bind(interval(lease))
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(DueRow::claimed).collect()
}

/// Records how payments ended, each with its event. A payment that has already ended stays as it is, so a
/// result that comes twice (a call-back and an answer, two workers) emits its event once. A charge that paid
/// for another order pays for nothing more.
///
/// Returns the ids that this call settled.
pub(crate) async fn settle(
    connection: &mut PgConnection,
    settlements: &[(Uuid, Settlement)],
) -> sqlx::Result<Vec<Uuid>> {
    let mut ids = Vec::with_capacity(settlements.len());
    let mut states = Vec::with_capacity(settlements.len());
    let mut charges: Vec<Option<&str>> = Vec::with_capacity(settlements.len());
    let mut charged: Vec<Option<OffsetDateTime>> = Vec::with_capacity(settlements.len());
    let mut reasons: Vec<Option<&str>> = Vec::with_capacity(settlements.len());
    let mut closed = Vec::with_capacity(settlements.len());
    for (id, settlement) in settlements {
        let (state, charge, at, reason, is_closed) = match settlement {
            Settlement::Charged { charge_id, charged_at } => {
                ("succeeded", Some(charge_id.as_str()), Some(*charged_at), None, false)
            }
            Settlement::Failed { reason, closed } => ("failed", None, None, Some(reason.as_str()), *closed),
            Settlement::Voided { reason } => ("voided", None, None, Some(reason.as_str()), true),
        };
        ids.push(*id);
        states.push(state);
        charges.push(charge);
        charged.push(at);
        reasons.push(reason);
        closed.push(is_closed);
    }
    if ids.is_empty() {
        return Ok(ids);
    }
    let settled: Vec<SettledRow> = sqlx::query_as(
        "UPDATE payments p
         SET state = s.state, provider_charge_id = s.charge_id, charged_at = s.charged_at, reason = s.reason,
             closed = s.closed, settled_at = now(), due_at = NULL
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::boolean[])
              AS s (id, state, charge_id, charged_at, reason, closed)
         WHERE p.id = s.id AND p.due_at IS NOT NULL
           AND NOT EXISTS (SELECT FROM payments other WHERE other.provider_charge_id = s.charge_id)
         RETURNING p.id, p.order_id, p.amount, p.currency, p.reason, p.request, p.closed, p.settled_at,
                   p.traceparent",
    )
    .bind(ids)
    .bind(states)
    .bind(charges)
    .bind(charged)
    .bind(reasons)
    .bind(closed)
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
    request: i32,
    closed: bool,
    settled_at: OffsetDateTime,
    traceparent: Option<String>,
}

impl SettledRow {
    fn event(&self) -> Event {
        let event = match &self.reason {
            None => events::succeeded(self.id, self.order_id, self.amount, &self.currency, self.settled_at),
            Some(reason) => events::failed(self.id, self.order_id, reason, self.request, self.closed),
        };
        event.in_trace(self.traceparent.as_deref())
    }
}

pub(super) fn interval(duration: Duration) -> PgInterval {
    let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}
