//! Turns what orders ask for into rows: payments and releases.

use std::collections::BTreeMap;

use rocketmart_contracts::event::PaymentRequested;
use rocketmart_kit::event::{Event, Inbound};
use rocketmart_kit::outbox;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::payment::{PaymentState, deadline, payment_id, reason};
use crate::events;

/// Inserts one payment per order, with the method to charge. An order that already has a payment is left
/// alone, unless that one failed and this is the next request. A payment without a usable method has failed
/// from the start; a payment of nothing has succeeded.
///
/// A request from before this database was restored from a backup may have been charged since that backup, by
/// a method that is no longer known. Such a payment starts as "may have been charged", so that the provider
/// is asked whatever happens. Without its method it is too late to charge it again.
pub(crate) async fn insert_payments(
    connection: &mut PgConnection,
    requests: &[Inbound<PaymentRequested>],
) -> sqlx::Result<()> {
    let requests = latest(requests);
    if requests.is_empty() {
        return Ok(());
    }
    remember_failures(connection, &requests).await?;
    let ids: Vec<Uuid> = requests.iter().map(|r| payment_id(r.order_id)).collect();
    let orders: Vec<Uuid> = requests.iter().map(|r| r.order_id).collect();
    let buyers: Vec<Uuid> = requests.iter().map(|r| r.buyer_id).collect();
    let amounts: Vec<i64> = requests.iter().map(|r| r.amount).collect();
    let currencies: Vec<&str> = requests.iter().map(|r| r.currency.as_str()).collect();
    let methods: Vec<Option<Uuid>> = requests.iter().map(|r| r.payment_method_id).collect();
    let deadlines: Vec<OffsetDateTime> = requests.iter().map(|r| deadline(r.pay_by_ms)).collect();
    let traces: Vec<Option<&str>> = requests.iter().map(|r| r.traceparent.as_deref()).collect();
    let asked: Vec<OffsetDateTime> = requests.iter().map(|r| r.time).collect();
    let numbers: Vec<i32> = requests.iter().map(|r| r.attempt()).collect();
    let ended: Vec<Ended> = sqlx::query_as(
        "WITH inserted AS (
             INSERT INTO payments (id, order_id, buyer_id, amount, currency, payment_method_id, provider_token,
                                   pay_by, traceparent, request, state, reason, due_at, settled_at)
             SELECT r.id, r.order_id, r.buyer_id, r.amount, r.currency, m.id,
                    CASE WHEN known THEN coalesce(m.provider_token, '') ELSE m.provider_token END,
                    CASE WHEN known AND m.id IS NULL THEN least(r.pay_by, now()) ELSE r.pay_by END,
                    r.traceparent, r.request,
                    CASE WHEN r.amount = 0 THEN 'succeeded' WHEN known THEN 'processing'
                         WHEN m.id IS NULL THEN 'failed' ELSE 'requested' END,
                    CASE WHEN m.id IS NULL AND NOT known AND r.amount > 0 THEN $9 END,
                    CASE WHEN (m.id IS NOT NULL OR known) AND r.amount > 0 THEN now() END,
                    CASE WHEN (m.id IS NULL AND NOT known) OR r.amount = 0 THEN now() END
             FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::uuid[], $7::timestamptz[],
                         $8::text[], $10::timestamptz[], $11::int[])
                  AS r (id, order_id, buyer_id, amount, currency, method_id, pay_by, traceparent, asked_at, request)
             CROSS JOIN LATERAL (
                 SELECT coalesce(r.asked_at < (SELECT max(at) FROM restores), false) AS known) AS k
             LEFT JOIN payment_methods m
                  ON m.member_id = r.buyer_id AND (m.id = r.method_id OR (r.method_id IS NULL AND m.is_default))
             ON CONFLICT (order_id) DO UPDATE
             SET payment_method_id = excluded.payment_method_id, provider_token = excluded.provider_token,
                 pay_by = excluded.pay_by, traceparent = excluded.traceparent, request = excluded.request,
                 state = excluded.state, reason = excluded.reason, due_at = excluded.due_at,
                 settled_at = excluded.settled_at, attempts = 0, capture = NULL,
                 provider_authorization_id = NULL, authorized_at = NULL
             WHERE payments.state = 'failed' AND NOT payments.closed AND payments.request < excluded.request
             RETURNING id, order_id, amount, currency, state, request, settled_at, traceparent)
         SELECT * FROM inserted WHERE state IN ('failed', 'succeeded')",
    )
    .bind(ids)
    .bind(&orders)
    .bind(buyers)
    .bind(amounts)
    .bind(currencies)
    .bind(methods)
    .bind(deadlines)
    .bind(traces)
    .bind(reason::PAYMENT_METHOD_UNKNOWN)
    .bind(asked)
    .bind(&numbers)
    .fetch_all(&mut *connection)
    .await?;
    let events: Vec<Event> = ended.iter().map(Ended::event).collect();
    outbox::put(connection, events::PAYMENTS, &events).await?;
    refuse_closed(connection, &orders, &numbers).await
}

/// One request for each order: the first of several with the same number, otherwise the last. A later number
/// says that the earlier requests came to nothing.
fn latest(requests: &[Inbound<PaymentRequested>]) -> Vec<&Inbound<PaymentRequested>> {
    let mut latest: BTreeMap<Uuid, &Inbound<PaymentRequested>> = BTreeMap::new();
    for request in requests {
        let known = latest.entry(request.order_id).or_insert(request);
        if known.attempt() < request.attempt() {
            *known = request;
        }
    }
    latest.into_values().collect()
}

/// Keeps the outcome of requests that another one now follows.
async fn remember_failures(
    connection: &mut PgConnection,
    requests: &[&Inbound<PaymentRequested>],
) -> sqlx::Result<()> {
    let again = || requests.iter().filter(|request| request.attempt() > 1);
    if again().next().is_none() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO payment_requests_failed (payment_id, request, payment_method_id, reason, settled_at)
         SELECT p.id, p.request, p.payment_method_id, p.reason, p.settled_at
         FROM payments p JOIN unnest($1::uuid[], $2::int[]) AS r (order_id, request) USING (order_id)
         WHERE p.state = 'failed' AND NOT p.closed AND p.request < r.request
         ON CONFLICT DO NOTHING",
    )
    .bind(again().map(|request| request.order_id).collect::<Vec<_>>())
    .bind(again().map(|request| request.attempt()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Answers requests for orders that may not be charged any more.
async fn refuse_closed(connection: &mut PgConnection, orders: &[Uuid], numbers: &[i32]) -> sqlx::Result<()> {
    if numbers.iter().all(|number| *number <= 1) {
        return Ok(());
    }
    let refused: Vec<(Uuid, Uuid, String, i32)> = sqlx::query_as(
        "SELECT p.id, p.order_id, p.reason, r.request
         FROM payments p JOIN unnest($1::uuid[], $2::int[]) AS r (order_id, request) USING (order_id)
         WHERE p.request < r.request AND p.state IN ('failed', 'voided')",
    )
    .bind(orders)
    .bind(numbers)
    .fetch_all(&mut *connection)
    .await?;
    let events: Vec<Event> = refused
        .iter()
        .map(|(id, order, reason, request)| events::failed(*id, *order, reason, *request, true))
        .collect();
    outbox::put(connection, events::PAYMENTS, &events).await
}

/// A payment that ended as soon as it was requested.
#[derive(sqlx::FromRow)]
struct Ended {
    id: Uuid,
    order_id: Uuid,
    amount: i64,
    currency: String,
    state: String,
    request: i32,
    settled_at: OffsetDateTime,
    traceparent: Option<String>,
}

impl Ended {
    fn event(&self) -> Event {
        let event = if self.state == PaymentState::Succeeded.as_str() {
            metrics::counter!("payments_settled_total", "outcome" => "free").increment(1);
            events::succeeded(self.id, self.order_id, self.amount, &self.currency, self.settled_at)
        } else {
            let reason = reason::PAYMENT_METHOD_UNKNOWN;
            metrics::counter!("payments_settled_total", "outcome" => reason).increment(1);
            events::failed(self.id, self.order_id, reason, self.request, false)
        };
        event.in_trace(self.traceparent.as_deref())
    }
}

/// Voids what the provider surely has not seen, and marks the rest. Money that is set aside is given up.
/// Where a payment may have been charged, the provider says how it ended; if it was charged, the order asks
/// for a refund.
pub(crate) async fn release(connection: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<()> {
    if orders.is_empty() {
        return Ok(());
    }
    let voided: Vec<Voided> = sqlx::query_as(
        "WITH released AS (
             UPDATE payments
             SET released = true,
                 state = CASE state WHEN 'requested' THEN 'voided' ELSE state END,
                 reason = CASE state WHEN 'requested' THEN $2 END,
                 closed = (state = 'requested'),
                 due_at = CASE state WHEN 'requested' THEN NULL ELSE due_at END,
                 settled_at = CASE state WHEN 'requested' THEN now() END
             WHERE order_id = ANY($1) AND due_at IS NOT NULL
             RETURNING id, order_id, state, request, traceparent)
         SELECT id, order_id, request, traceparent FROM released WHERE state = 'voided'",
    )
    .bind(orders)
    .bind(reason::ORDER_RELEASED)
    .fetch_all(&mut *connection)
    .await?;
    let events: Vec<Event> = voided
        .iter()
        .map(|p| {
            let failed = events::failed(p.id, p.order_id, reason::ORDER_RELEASED, p.request, true);
            failed.in_trace(p.traceparent.as_deref())
        })
        .collect();
    metrics::counter!("payments_settled_total", "outcome" => reason::ORDER_RELEASED)
        .increment(events.len() as u64);
    outbox::put(connection, events::PAYMENTS, &events).await
}

#[derive(sqlx::FromRow)]
struct Voided {
    id: Uuid,
    order_id: Uuid,
    request: i32,
    traceparent: Option<String>,
}
