//! What orders ask for becomes rows: payments, releases, refunds.

use rocketmart_kit::event::Event;
use rocketmart_kit::outbox;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::payment::{payment_id, reason, refund_id};
use crate::events::{self, PaymentRequested, RefundRequested};

/// Inserts one payment per order with the method it is to be charged to; an order that has one
/// already is left alone. A payment without a usable method has failed from the start.
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
    let without_method: Vec<Failed> = sqlx::query_as(
        "WITH inserted AS (
             INSERT INTO payments (id, order_id, buyer_id, amount, currency, payment_method_id, provider_token,
                                   pay_by, traceparent, state, reason, due_at, settled_at)
             SELECT r.id, r.order_id, r.buyer_id, r.amount, r.currency, m.id, m.provider_token, r.pay_by,
                    r.traceparent,
                    CASE WHEN m.id IS NULL THEN 'failed' ELSE 'requested' END,
                    CASE WHEN m.id IS NULL THEN $9 END,
                    CASE WHEN m.id IS NOT NULL THEN now() END,
                    CASE WHEN m.id IS NULL THEN now() END
             FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::uuid[], $7::timestamptz[],
                         $8::text[]) AS r (id, order_id, buyer_id, amount, currency, method_id, pay_by, traceparent)
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
    .fetch_all(&mut *connection)
    .await?;
    announce_failures(connection, &without_method, reason::PAYMENT_METHOD_UNKNOWN).await
}

/// Voids what has surely not been charged. What may have been is marked, so that it is not charged
/// again and the provider says how it ended; if it was charged, the order asks for a refund.
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
             WHERE order_id = ANY($1) AND state IN ('requested', 'processing')
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

/// What became of a request for a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefundIntake {
    Accepted,
    /// More than what is left of the charge: the money is on its way back already.
    NothingLeft,
    /// The payment is not there, is another order's, in another currency, or was never charged.
    NotCharged,
}

/// Reserves the amount on the payment and inserts the refund, or says why not.
///
/// One by one, since a batch may hold several refunds of one payment and each must see the one
/// before; refunds are few beside payments.
pub(crate) async fn request_refund(
    connection: &mut PgConnection,
    request_id: &str,
    request: &RefundRequested,
) -> sqlx::Result<RefundIntake> {
    let left: Option<i64> = sqlx::query_scalar(
        "SELECT amount - refunded FROM payments
         WHERE id = $1 AND order_id = $2 AND currency = $3 AND state = 'succeeded' FOR UPDATE",
    )
    .bind(request.payment_id)
    .bind(request.order_id)
    .bind(&request.currency)
    .fetch_optional(&mut *connection)
    .await?;
    match left {
        None => return Ok(RefundIntake::NotCharged),
        Some(left) if request.amount > left => return Ok(RefundIntake::NothingLeft),
        Some(_) => {}
    }
    sqlx::query("UPDATE payments SET refunded = refunded + $2 WHERE id = $1")
        .bind(request.payment_id)
        .bind(request.amount)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO refunds (id, request_id, payment_id, amount, reason, traceparent, state, due_at)
         VALUES ($1, $2, $3, $4, $5, $6, 'requested', now())",
    )
    .bind(refund_id(request_id))
    .bind(request_id)
    .bind(request.payment_id)
    .bind(request.amount)
    .bind(&request.reason)
    .bind(&request.traceparent)
    .execute(&mut *connection)
    .await?;
    Ok(RefundIntake::Accepted)
}
