//! Compares the provider's lists with the payments, inside PostgreSQL.
//!
//! The lists are copied into temporary tables that end with the transaction, and one query finds every
//! difference. So memory does not grow with the number of charges.

use sqlx::{PgConnection, Row};
use time::OffsetDateTime;

use super::foreign_refunds;
use crate::provider::{Authorization, AuthorizationStatus, Charge, ChargeStatus};

/// An arbitrary number for `pg_try_advisory_xact_lock`, the same in every replica.
const LOCK: i64 = 0x7061_795f_7265_636f;

/// Makes this transaction the one that reconciles; `false` if another replica is already doing it.
pub(crate) async fn try_lock(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)").bind(LOCK).fetch_one(connection).await
}

/// The end of the last run's window, and the database's time.
pub(crate) async fn last_until(
    connection: &mut PgConnection,
) -> sqlx::Result<(Option<OffsetDateTime>, OffsetDateTime)> {
    sqlx::query_as("SELECT (SELECT max(until) FROM reconciliation_runs), now()").fetch_one(connection).await
}

/// Empty copies of the provider's lists, dropped when the transaction ends.
pub(crate) async fn prepare(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(
        "CREATE TEMPORARY TABLE provider_charges (
             id text NOT NULL, reference text NOT NULL, amount bigint NOT NULL, currency text NOT NULL,
             refunded bigint NOT NULL) ON COMMIT DROP",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "CREATE TEMPORARY TABLE provider_holds (
             id text NOT NULL, reference text NOT NULL, amount bigint NOT NULL, currency text NOT NULL)
         ON COMMIT DROP",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Copies a page of the list of authorizations; only those that still hold money matter.
pub(crate) async fn copy_authorizations(
    connection: &mut PgConnection,
    page: &[Authorization],
) -> sqlx::Result<()> {
    let holds: Vec<&Authorization> =
        page.iter().filter(|a| a.status == AuthorizationStatus::Authorized).collect();
    sqlx::query(
        "INSERT INTO provider_holds (id, reference, amount, currency)
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[])",
    )
    .bind(holds.iter().map(|a| a.id.as_str()).collect::<Vec<_>>())
    .bind(holds.iter().map(|a| a.reference.as_str()).collect::<Vec<_>>())
    .bind(holds.iter().map(|a| a.amount).collect::<Vec<_>>())
    .bind(holds.iter().map(|a| a.currency.as_str()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Copies a page of the list of charges, without declined ones: they moved no money.
pub(crate) async fn copy_charges(connection: &mut PgConnection, page: &[Charge]) -> sqlx::Result<()> {
    let charges: Vec<&Charge> = page.iter().filter(|c| c.status == ChargeStatus::Succeeded).collect();
    sqlx::query(
        "INSERT INTO provider_charges (id, reference, amount, currency, refunded)
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[])",
    )
    .bind(charges.iter().map(|c| c.id.as_str()).collect::<Vec<_>>())
    .bind(charges.iter().map(|c| c.reference.as_str()).collect::<Vec<_>>())
    .bind(charges.iter().map(|c| c.amount).collect::<Vec<_>>())
    .bind(charges.iter().map(|c| c.currency.as_str()).collect::<Vec<_>>())
    .bind(charges.iter().map(|c| c.refunded).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes over refunds of these charges that we did not make.
pub(crate) async fn take_over_refunds(connection: &mut PgConnection) -> sqlx::Result<()> {
    let more_went_back: Vec<(String, i64)> = sqlx::query_as(
        "SELECT c.id, c.refunded FROM provider_charges c JOIN payments p ON p.provider_charge_id = c.id
         WHERE c.refunded > p.refunded AND p.amount = c.amount AND p.currency = c.currency",
    )
    .fetch_all(&mut *connection)
    .await?;
    for (charge, refunded) in more_went_back {
        foreign_refunds::take_over(connection, &charge, refunded, None, None).await?;
    }
    Ok(())
}

/// What a run found, by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) kind: String,
    pub(crate) count: i64,
}

/// Compares, records the run and each difference, and returns how many there are of each kind.
///
/// Refunds are compared only where none is on its way, because the provider may be ahead of us.
pub(crate) async fn compare(
    connection: &mut PgConnection,
    since: OffsetDateTime,
    until: OffsetDateTime,
) -> sqlx::Result<(i64, Vec<Finding>)> {
    let run = sqlx::query(
        "INSERT INTO reconciliation_runs (since, until, charges, differences)
         VALUES ($1, $2, (SELECT count(*) FROM provider_charges), 0) RETURNING id, charges",
    )
    .bind(since)
    .bind(until)
    .fetch_one(&mut *connection)
    .await?;
    let (run_id, charges): (i64, i64) = (run.try_get("id")?, run.try_get("charges")?);
    sqlx::query(
        "INSERT INTO reconciliation_differences (run_id, kind, reference, provider_charge_id, payment_id, detail)
         SELECT $1, kind, reference, charge_id, payment_id, detail FROM (
             SELECT CASE
                        WHEN p.id IS NULL THEN 'charge_without_payment'
                        WHEN p.state <> 'succeeded' THEN 'charge_of_unpaid_payment'
                        WHEN p.provider_charge_id <> c.id THEN 'order_charged_twice'
                        WHEN p.amount <> c.amount OR p.currency <> c.currency THEN 'amount_differs'
                        WHEN p.refunded <> c.refunded AND NOT EXISTS (
                            SELECT FROM refunds r WHERE r.payment_id = p.id AND r.state <> 'succeeded')
                            THEN 'refunds_differ'
                    END AS kind,
                    c.reference, c.id AS charge_id, p.id AS payment_id,
                    format('provider: %s %s, %s refunded; payment: %s', c.amount, c.currency, c.refunded,
                           CASE WHEN p.id IS NULL THEN 'none'
                                ELSE format('%s, %s %s, %s refunded', p.state, p.amount, p.currency, p.refunded)
                           END) AS detail
             FROM provider_charges c LEFT JOIN payments p ON p.order_id::text = c.reference
             UNION ALL
             SELECT 'payment_without_charge', p.order_id::text, p.provider_charge_id, p.id,
                    format('payment: %s %s, no such charge in the provider''s list', p.amount, p.currency)
             FROM payments p
             WHERE p.charged_at >= $2 AND p.charged_at < $3
               AND NOT EXISTS (SELECT FROM provider_charges c WHERE c.id = p.provider_charge_id)
             UNION ALL
             SELECT 'money_left_set_aside', h.reference, NULL, p.id,
                    format('authorization %s holds %s %s; payment: %s', h.id, h.amount, h.currency,
                           coalesce(p.state, 'none'))
             FROM provider_holds h LEFT JOIN payments p ON p.order_id::text = h.reference
             WHERE p.due_at IS NULL) AS compared
         WHERE kind IS NOT NULL",
    )
    .bind(run_id)
    .bind(since)
    .bind(until)
    .execute(&mut *connection)
    .await?;
    let findings: Vec<(String, i64)> = sqlx::query_as(
        "WITH found AS (SELECT kind, count(*) AS count FROM reconciliation_differences WHERE run_id = $1 GROUP BY kind),
              counted AS (UPDATE reconciliation_runs
                          SET differences = coalesce((SELECT sum(count) FROM found), 0)::bigint WHERE id = $1)
         SELECT kind, count FROM found ORDER BY kind",
    )
    .bind(run_id)
    .fetch_all(connection)
    .await?;
    Ok((charges, findings.into_iter().map(|(kind, count)| Finding { kind, count }).collect()))
}
