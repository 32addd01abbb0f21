//! Counting attempts against their limits, for all replicas together.

use std::time::Duration;

use sqlx::PgPool;

use crate::domain::limit::Limit;

/// Counts one attempt against every limit. `Some(wait)`: one of them is exceeded, for that long.
pub(crate) async fn count(pool: &PgPool, limits: &[Limit]) -> sqlx::Result<Option<Duration>> {
    let windows: Vec<f64> = limits.iter().map(|limit| limit.window.as_secs_f64()).collect();
    // In the order of `scope`, the same for every caller, so that counters never dead-lock.
    let counted: Vec<(String, i32, f64)> = sqlx::query_as(
        "INSERT INTO attempts AS a (scope, subject, count, resets_at)
         SELECT scope, subject, 1, now() + make_interval(secs => seconds)
         FROM unnest($1::text[], $2::bytea[], $3::float8[]) AS tried (scope, subject, seconds)
         ORDER BY scope
         ON CONFLICT (scope, subject) DO UPDATE
         SET count = CASE WHEN a.resets_at > now() THEN a.count + 1 ELSE 1 END,
             resets_at = CASE WHEN a.resets_at > now() THEN a.resets_at ELSE excluded.resets_at END
         RETURNING scope, count, extract(epoch FROM resets_at - now())::float8",
    )
    .bind(scopes(limits))
    .bind(subjects(limits))
    .bind(windows)
    .fetch_all(pool)
    .await?;
    let exceeded = |scope: &str, count: i32| {
        limits.iter().any(|limit| limit.scope == scope && i64::from(count) > i64::from(limit.allowed))
    };
    Ok(counted
        .iter()
        .filter(|(scope, count, _)| exceeded(scope, *count))
        .map(|(_, _, wait)| Duration::from_secs_f64(wait.max(1.0)))
        .max())
}

/// Takes one attempt back: it succeeded, and only failures count.
pub(crate) async fn forgive(pool: &PgPool, limits: &[Limit]) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE attempts a SET count = greatest(a.count - 1, 0)
         FROM unnest($1::text[], $2::bytea[]) AS tried (scope, subject)
         WHERE a.scope = tried.scope AND a.subject = tried.subject",
    )
    .bind(scopes(limits))
    .bind(subjects(limits))
    .execute(pool)
    .await?;
    Ok(())
}

fn scopes(limits: &[Limit]) -> Vec<&'static str> {
    limits.iter().map(|limit| limit.scope).collect()
}

fn subjects(limits: &[Limit]) -> Vec<&[u8]> {
    limits.iter().map(|limit| limit.subject.as_slice()).collect()
}
