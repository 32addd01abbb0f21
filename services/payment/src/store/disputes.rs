//! Claims that we did not believe, kept beside the differences of the reconciliation for a person to look at;
//! and the payments that claims are compared with.

use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::dispute::Dispute;

/// The payment that a claim is compared with.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Claimed {
    pub(crate) id: Uuid,
    /// Minor units.
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) state: String,
    pub(crate) provider_charge_id: Option<String>,
}

/// What a person has to look at, whoever found it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Difference {
    kind: String,
    reference: String,
    provider_id: Option<String>,
    payment_id: Option<Uuid>,
    detail: String,
    #[serde(with = "time::serde::rfc3339")]
    found_at: OffsetDateTime,
}

pub(crate) async fn newest(pool: &PgPool, limit: i64) -> sqlx::Result<Vec<Difference>> {
    sqlx::query_as(
        "SELECT kind, reference, provider_charge_id AS provider_id, payment_id, detail, found_at
         FROM reconciliation_differences ORDER BY found_at DESC LIMIT $1",
    )
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// The payment of an order.
pub(crate) async fn payment_of(pool: &PgPool, order: Uuid) -> sqlx::Result<Option<Claimed>> {
    sqlx::query_as("SELECT id, amount, currency, state, provider_charge_id FROM payments WHERE order_id = $1")
        .bind(order)
        .fetch_optional(pool)
        .await
}

/// Records a dispute once, however often it is reported. Announces it as an error in the log and in the
/// metric for the differences that the reconciliation finds.
pub(crate) async fn record(connection: &mut PgConnection, dispute: &Dispute) -> sqlx::Result<()> {
    let Dispute { kind, reference, provider_id, payment_id, detail } = dispute;
    let kind = kind.as_str();
    let recorded = sqlx::query(
        "INSERT INTO reconciliation_differences (kind, reference, provider_charge_id, payment_id, detail)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (kind, reference, coalesce(provider_charge_id, '')) WHERE run_id IS NULL DO NOTHING",
    )
    .bind(kind)
    .bind(reference)
    .bind(provider_id)
    .bind(payment_id)
    .bind(detail)
    .execute(connection)
    .await?;
    if recorded.rows_affected() > 0 {
        metrics::counter!("payment_reconciliation_differences_total", "kind" => kind).increment(1);
    }
    tracing::error!(kind, reference, provider_id, ?payment_id, detail, "the provider's word is not believed");
    Ok(())
}
