//! Counts attempts against their limits, across all replicas.

use std::time::Duration;

use sqlx::{PgConnection, PgPool, Row};

use crate::domain::limit::Limit;

/// An attempt that was let through, and what it was counted as.
#[derive(Debug)]
pub(crate) struct Admitted {
    counted: Vec<Counted>,
}

#[derive(Debug)]
struct Counted {
    limit: Limit,
    /// Including this attempt.
    count: u32,
    resets_in: Duration,
}

/// Counts one attempt against every limit. If one of them is reached, it counts against none and returns how
/// long to wait.
pub(crate) async fn admit(pool: &PgPool, limits: &[Limit]) -> sqlx::Result<Result<Admitted, Duration>> {
    let mut in_order = limits.to_vec();
    // The same order for every caller, so that counters never dead-lock.
    in_order.sort_by_key(|limit| limit.scope);
    let mut tx = pool.begin().await?;
    let mut counted = Vec::with_capacity(in_order.len());
    for limit in in_order {
        let Some(one) = count(&mut tx, &limit).await? else {
            tx.rollback().await?;
            return Ok(Err(resets_in(pool, &limit).await?));
        };
        counted.push(one);
    }
    tx.commit().await?;
    Ok(Ok(Admitted { counted }))
}

/// `None` if the limit is reached; then the attempt is not counted.
async fn count(tx: &mut PgConnection, limit: &Limit) -> sqlx::Result<Option<Counted>> {
    let row = sqlx::query(
        "INSERT INTO attempts AS a (scope, subject, account, count, resets_at)
         VALUES ($1, $2, $3, 1, now() + make_interval(secs => $4))
         ON CONFLICT (scope, subject) DO UPDATE
         SET count = CASE WHEN a.resets_at > now() THEN a.count + 1 ELSE 1 END,
             resets_at = CASE WHEN a.resets_at > now() THEN a.resets_at ELSE excluded.resets_at END,
             account = excluded.account
         WHERE a.resets_at <= now() OR a.count < $5
         RETURNING count, extract(epoch FROM resets_at - now())::float8 AS resets_in",
    )
    .bind(limit.scope)
    .bind(limit.subject)
    .bind(limit.account)
    .bind(limit.window.as_secs_f64())
    .bind(i32::try_from(limit.allowed).unwrap_or(i32::MAX))
    .fetch_optional(tx)
    .await?;
    row.map(|row| {
        let count: i32 = row.try_get("count")?;
        Ok(Counted {
            limit: *limit,
            count: u32::try_from(count).unwrap_or_default(),
            resets_in: Duration::from_secs_f64(row.try_get::<f64, _>("resets_in")?.max(1.0)),
        })
    })
    .transpose()
}

async fn resets_in(pool: &PgPool, limit: &Limit) -> sqlx::Result<Duration> {
    let seconds: Option<f64> = sqlx::query_scalar(
        "SELECT extract(epoch FROM resets_at - now())::float8 FROM attempts WHERE scope = $1 AND subject = $2",
    )
    .bind(limit.scope)
    .bind(limit.subject)
    .fetch_optional(pool)
    .await?;
    Ok(Duration::from_secs_f64(seconds.unwrap_or_default().max(1.0)))
}

impl Admitted {
    /// Takes the attempt back: it succeeded or was not made, and only failures count.
    pub(crate) async fn take_back(&self, pool: &PgPool) -> sqlx::Result<()> {
        forgive(pool, self.counted.iter()).await
    }

    /// Keeps the attempt. An account that was already tried in vain from an address counts there only once.
    /// `Some(wait)`: more than `accounts` accounts were tried from that address.
    pub(crate) async fn failed(&self, pool: &PgPool, accounts: u32) -> sqlx::Result<Option<Duration>> {
        let again = self.counted.iter().any(|one| one.limit.is_of_one_place() && one.count > 1);
        let address = self.counted.iter().find(|one| one.limit.counts_accounts());
        if again {
            forgive(pool, address.into_iter()).await?;
        }
        let tried = address.map(|one| (one.count - u32::from(again), one.resets_in));
        Ok(tried.filter(|(count, _)| *count > accounts).map(|(_, resets_in)| resets_in))
    }
}

/// One after another, so that counters never dead-lock.
async fn forgive(pool: &PgPool, counted: impl Iterator<Item = &Counted>) -> sqlx::Result<()> {
    for one in counted {
        sqlx::query("UPDATE attempts SET count = greatest(count - 1, 0) WHERE scope = $1 AND subject = $2")
            .bind(one.limit.scope)
            .bind(one.limit.subject)
            .execute(pool)
            .await?;
    }
    Ok(())
}

/// After a new password, lifts what guessing the old one had locked.
pub(super) async fn lift(tx: &mut PgConnection, account: [u8; 32]) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM attempts WHERE account = $1").bind(account).execute(tx).await?;
    Ok(())
}
