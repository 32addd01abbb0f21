//! Refunds that the provider made and nobody here asked for: in its console, or for the cardholder's bank.
//!
//! The provider's record of the charge says how much of it went back in total. If that is more than our own
//! refunds, we take the rest over as one completed refund: it counts against what may still go back, and the
//! order is told. While a refund of ours is on its way, nobody can tell the two apart, so this waits for it.

use rocketmart_kit::event::Event;
use rocketmart_kit::outbox;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::domain::payment::{refund_id, refund_reason};
use crate::events::{self, Refund};

/// The result of looking for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakenOver {
    /// This many minor units were taken over just now.
    Amount(i64),
    /// Everything that went back is already known.
    Nothing,
    /// A refund of ours is on its way, or its outcome is unknown.
    NotYet,
    /// The charge is not ours.
    Unknown,
}

#[derive(sqlx::FromRow)]
struct Paid {
    id: Uuid,
    order_id: Uuid,
    amount: i64,
    currency: String,
    refunded: i64,
    traceparent: Option<String>,
}

/// Whether this refund is ours or was taken over.
pub(crate) async fn is_known(pool: &PgPool, provider_refund_id: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM refunds WHERE provider_refund_id = $1)")
        .bind(provider_refund_id)
        .fetch_one(pool)
        .await
}

/// Takes over what the provider's record of a charge has beyond our refunds. `known_as` is the provider's id
/// of the refund, if it gave one. `besides` is a refund of ours that surely was not made and has nothing
/// reserved.
pub(crate) async fn take_over(
    connection: &mut PgConnection,
    charge_id: &str,
    refunded_in_all: i64,
    known_as: Option<&str>,
    besides: Option<Uuid>,
) -> sqlx::Result<TakenOver> {
    let paid: Option<Paid> = sqlx::query_as(
        "SELECT id, order_id, amount, currency, refunded, traceparent FROM payments
         WHERE provider_charge_id = $1 FOR UPDATE",
    )
    .bind(charge_id)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(paid) = paid else { return Ok(TakenOver::Unknown) };
    let (known, in_doubt): (i64, bool) = sqlx::query_as(
        "SELECT coalesce(sum(amount) FILTER (WHERE state = 'succeeded'), 0)::bigint,
                coalesce(bool_or(state IN ('requested', 'processing')), false)
         FROM refunds WHERE payment_id = $1 AND id IS DISTINCT FROM $2",
    )
    .bind(paid.id)
    .bind(besides)
    .fetch_one(&mut *connection)
    .await?;
    let amount = refunded_in_all - known;
    if amount <= 0 {
        return Ok(TakenOver::Nothing);
    }
    if in_doubt || paid.refunded + amount > paid.amount {
        return Ok(TakenOver::NotYet);
    }
    insert(connection, &paid, amount, charge_id, refunded_in_all, known_as).await?;
    Ok(TakenOver::Amount(amount))
}

async fn insert(
    connection: &mut PgConnection,
    paid: &Paid,
    amount: i64,
    charge_id: &str,
    refunded_in_all: i64,
    known_as: Option<&str>,
) -> sqlx::Result<()> {
    let provider_id = known_as.map_or_else(|| format!("{charge_id}/{refunded_in_all}"), ToOwned::to_owned);
    let request = format!("provider/{provider_id}");
    let id = refund_id(&request);
    sqlx::query(
        "INSERT INTO refunds (id, request_id, payment_id, amount, reason, state, provider_refund_id, by_provider,
                              settled_at)
         VALUES ($1, $2, $3, $4, $5, 'succeeded', $6, true, now())",
    )
    .bind(id)
    .bind(request)
    .bind(paid.id)
    .bind(amount)
    .bind(refund_reason::BY_PROVIDER)
    .bind(provider_id)
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE payments SET refunded = refunded + $2 WHERE id = $1")
        .bind(paid.id)
        .bind(amount)
        .execute(&mut *connection)
        .await?;
    metrics::counter!("payment_refunds_taken_over_total").increment(1);
    tracing::warn!(payment_id = %paid.id, order_id = %paid.order_id, amount, "the provider gave money back by itself");
    let told: Event = events::refunded(&Refund {
        payment_id: paid.id,
        refund_id: id,
        order_id: paid.order_id,
        amount,
        currency: &paid.currency,
        reason: refund_reason::BY_PROVIDER,
        reference: None,
    });
    outbox::put(connection, events::PAYMENTS, &[told.in_trace(paid.traceparent.as_deref())]).await
}
