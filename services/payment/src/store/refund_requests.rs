//! Turns the refunds that orders ask for into rows, each within what was captured.

use rocketmart_contracts::event::RefundRequested;
use rocketmart_kit::event::Inbound;
use rocketmart_kit::outbox;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::payment::{refund_id, refund_reason};
use crate::events::{self, Refund};

/// The outcome of a request for a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefundIntake {
    Accepted,
    /// A refund of this payment with the same reference is made or on its way.
    Repeated,
    /// More than is left of the payment, because the provider gave some of it back on its own. The rest goes
    /// back.
    Reduced,
    /// More than is left of the payment: the refund failed at once.
    Exceeds,
    /// The payment does not exist, belongs to another order, is in another currency, or was never captured.
    NotCharged,
}

/// Reserves the amount on the payment and inserts the refund, or says why not.
///
/// One by one: a batch may hold several refunds of one payment, and each must see the one before. Refunds are
/// few compared to payments.
pub(crate) async fn take(
    connection: &mut PgConnection,
    request_id: &str,
    request: &Inbound<RefundRequested>,
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
    let Some(left) = left else { return Ok(RefundIntake::NotCharged) };
    if request.amount == 0 {
        answer_nothing(connection, request_id, request).await?;
        return Ok(RefundIntake::Accepted);
    }
    if is_repeated(connection, request).await? {
        return Ok(RefundIntake::Repeated);
    }
    if request.amount <= left {
        reserve(connection, request.payment_id, request.amount).await?;
        insert(connection, request_id, request, request.amount, None).await?;
        return Ok(RefundIntake::Accepted);
    }
    if request.amount - left > given_back_by_provider(connection, request.payment_id).await? {
        insert(connection, request_id, request, request.amount, Some(refund_reason::EXCEEDS_CAPTURED))
            .await?;
        return Ok(RefundIntake::Exceeds);
    }
    if left == 0 {
        answer_nothing(connection, request_id, request).await?;
    } else {
        reserve(connection, request.payment_id, left).await?;
        insert(connection, request_id, request, left, None).await?;
    }
    Ok(RefundIntake::Reduced)
}

/// Reserves an amount of a payment for a refund.
pub(crate) async fn reserve(connection: &mut PgConnection, payment: Uuid, amount: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE payments SET refunded = refunded + $2 WHERE id = $1")
        .bind(payment)
        .bind(amount)
        .execute(connection)
        .await?;
    Ok(())
}

/// What the buyer already got back without a request made here.
async fn given_back_by_provider(connection: &mut PgConnection, payment: Uuid) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT coalesce(sum(amount), 0)::bigint FROM refunds
         WHERE payment_id = $1 AND by_provider AND state = 'succeeded'",
    )
    .bind(payment)
    .fetch_one(connection)
    .await
}

/// Nothing has to go back, or nothing is left to go back. Whoever asked still waits for an answer.
async fn answer_nothing(
    connection: &mut PgConnection,
    request_id: &str,
    request: &Inbound<RefundRequested>,
) -> sqlx::Result<()> {
    let back = events::refunded(&refund(refund_id(request_id), request, 0, &request.reason));
    let back = back.in_trace(request.traceparent.as_deref());
    outbox::put(connection, events::PAYMENTS, &[back]).await
}

async fn is_repeated(connection: &mut PgConnection, request: &RefundRequested) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM refunds WHERE payment_id = $1 AND reference = $2 AND state <> 'failed')",
    )
    .bind(request.payment_id)
    .bind(request.reference)
    .fetch_one(connection)
    .await
}

/// With a `failure`, the refund has failed from the start, and its event says so.
async fn insert(
    connection: &mut PgConnection,
    request_id: &str,
    request: &Inbound<RefundRequested>,
    amount: i64,
    failure: Option<&str>,
) -> sqlx::Result<()> {
    let id = refund_id(request_id);
    sqlx::query(
        "INSERT INTO refunds (id, request_id, payment_id, amount, reason, reference, traceparent, state, failure,
                              due_at, settled_at, asked_amount)
         VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $8::text IS NULL THEN 'requested' ELSE 'failed' END, $8,
                 CASE WHEN $8::text IS NULL THEN now() END, CASE WHEN $8::text IS NOT NULL THEN now() END,
                 CASE WHEN $9 <> $4 THEN $9 END)",
    )
    .bind(id)
    .bind(request_id)
    .bind(request.payment_id)
    .bind(amount)
    .bind(&request.reason)
    .bind(request.reference)
    .bind(&request.traceparent)
    .bind(failure)
    .bind(request.amount)
    .execute(&mut *connection)
    .await?;
    let Some(reason) = failure else { return Ok(()) };
    let failed = events::refund_failed(&refund(id, request, amount, reason));
    let failed = failed.in_trace(request.traceparent.as_deref());
    outbox::put(connection, events::PAYMENTS, &[failed]).await
}

fn refund<'a>(id: Uuid, request: &'a RefundRequested, amount: i64, reason: &'a str) -> Refund<'a> {
    Refund {
        payment_id: request.payment_id,
        refund_id: id,
        order_id: request.order_id,
        amount,
        currency: &request.currency,
        reason,
        reference: request.reference,
    }
}

/// Releases a refund's amount on the payment: it surely was not made and will not be.
pub(crate) async fn give_up(connection: &mut PgConnection, refund: Uuid) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE payments p SET refunded = p.refunded - r.amount FROM refunds r
         WHERE r.id = $1 AND p.id = r.payment_id",
    )
    .bind(refund)
    .execute(connection)
    .await?;
    Ok(())
}
