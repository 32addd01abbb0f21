//! What orders ask for becomes rows: payments and releases.

use rocketmart_kit::event::Event;
use rocketmart_kit::outbox;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::payment::{payment_id, reason};
use crate::events::{self, PaymentRequested};

/// Inserts one payment per order with the method it is to be charged to; an order that has one
/// already is left alone. A payment without a usable method has failed from the start.
///
/// What was asked for before this database was restored from a backup may have been charged since that
/// backup, by a method that is not known any more: it begins as "may have been charged", so that the
/// provider is asked whatever becomes of it; without its method it is too late to be charged anew.
pub(crate) async fn insert_payments(
    connection: &mut PgConnection,
    requests: &[PaymentRequested],
) -> sqlx::Result<()> {
    if requests.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = requests.iter().map(|r| payment_id(r.order_id)).collect();
    let orders: Vec<Uuid> = requests.iter().map(|r| r.order_id).collect();
    let buyers: Vec<Uuid> = requests.iter().map(|r| r.buyer_id).collect();
    let amounts: Vec<i64> = requests.iter().map(|r| r.amount).collect();
    let currencies: Vec<&str> = requests.iter().map(|r| r.currency.as_str()).collect();
    let methods: Vec<Option<Uuid>> = requests.iter().map(|r| r.payment_method_id).collect();
    let deadlines: Vec<OffsetDateTime> = requests.iter().map(PaymentRequested::pay_by).collect();
    let traces: Vec<Option<&str>> = requests.iter().map(|r| r.traceparent.as_deref()).collect();
    let asked: Vec<Option<OffsetDateTime>> = requests.iter().map(|r| r.asked_at).collect();
    let without_method: Vec<Failed> = sqlx::query_as(
        "WITH inserted AS (
             INSERT INTO payments (id, order_id, buyer_id, amount, currency, payment_method_id, provider_token,
                                   pay_by, traceparent, state, reason, due_at, settled_at)
             SELECT r.id, r.order_id, r.buyer_id, r.amount, r.currency, m.id,
                    CASE WHEN known THEN coalesce(m.provider_token, '') ELSE m.provider_token END,
                    CASE WHEN known AND m.id IS NULL THEN least(r.pay_by, now()) ELSE r.pay_by END,
                    r.traceparent,
                    CASE WHEN known THEN 'processing' WHEN m.id IS NULL THEN 'failed' ELSE 'requested' END,
                    CASE WHEN m.id IS NULL AND NOT known THEN $9 END,
                    CASE WHEN m.id IS NOT NULL OR known THEN now() END,
                    CASE WHEN m.id IS NULL AND NOT known THEN now() END
             FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::uuid[], $7::timestamptz[],
                         $8::text[], $10::timestamptz[])
                  AS r (id, order_id, buyer_id, amount, currency, method_id, pay_by, traceparent, asked_at)
             CROSS JOIN LATERAL (
                 SELECT coalesce(r.asked_at < (SELECT max(at) FROM restores), false) AS known) AS k
             LEFT JOIN payment_methods m
                  ON m.member_id = r.buyer_id AND (m.id = r.method_id OR (r.method_id IS NULL AND m.is_default))
             ON CONFLICT (order_id) DO NOTHING
             RETURNING id, order_id, state, traceparent)
         SELECT id, order_id, traceparent FROM inserted WHERE state = 'failed'",
    )
    .bind(ids)
    .bind(orders)
    .bind(buyers)
    .bind(amounts)
    .bind(currencies)
    .bind(methods)
    .bind(deadlines)
    .bind(traces)
    .bind(reason::PAYMENT_METHOD_UNKNOWN)
    .bind(asked)
    .fetch_all(&mut *connection)
    .await?;
    announce_failures(connection, &without_method, reason::PAYMENT_METHOD_UNKNOWN).await
}

/// Voids what the provider has surely not seen. The rest is marked: what is set aside is given up, and
/// of what may have been charged the provider says how it ended; if it was charged, the order asks for
/// a refund.
pub(crate) async fn release(connection: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<()> {
    if orders.is_empty() {
        return Ok(());
    }
    let voided: Vec<Failed> = sqlx::query_as(
        "WITH released AS (
             UPDATE payments
             SET released = true,
                 state = CASE state WHEN 'requested' THEN 'voided' ELSE state END,
                 reason = CASE state WHEN 'requested' THEN $2 END,
                 due_at = CASE state WHEN 'requested' THEN NULL ELSE due_at END,
                 settled_at = CASE state WHEN 'requested' THEN now() END
             WHERE order_id = ANY($1) AND due_at IS NOT NULL
             RETURNING id, order_id, state, traceparent)
         SELECT id, order_id, traceparent FROM released WHERE state = 'voided'",
    )
    .bind(orders)
    .bind(reason::ORDER_RELEASED)
    .fetch_all(&mut *connection)
    .await?;
    announce_failures(connection, &voided, reason::ORDER_RELEASED).await
}

#[derive(sqlx::FromRow)]
struct Failed {
    id: Uuid,
    order_id: Uuid,
    traceparent: Option<String>,
}

async fn announce_failures(
    connection: &mut PgConnection,
    payments: &[Failed],
    reason: &str,
) -> sqlx::Result<()> {
    let events: Vec<Event> = payments
        .iter()
        .map(|p| events::in_trace(events::failed(p.id, p.order_id, reason), p.traceparent.as_deref()))
        .collect();
    metrics::counter!("payments_settled_total", "outcome" => reason.to_owned())
        .increment(events.len() as u64);
    outbox::put(connection, events::PAYMENTS, &events).await
}
