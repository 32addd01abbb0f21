//! Deletes what no repetition can ask for any more: old ids in the inbox, old stored answers.
//!
//! The outbox publisher runs it, since there is one per database. A service may lack either table.

use sqlx::PgConnection;

/// Days that an id stays in the inbox: longer than any topic or stream keeps an event.
const INBOX_DAYS: i32 = 30;
/// Days that an answer is kept for repetitions.
const ANSWER_DAYS: i32 = 7;

/// Deletes what is older, in small steps so that no statement holds many rows for long.
pub(crate) async fn forget(connection: &mut PgConnection) -> sqlx::Result<()> {
    if exists(connection, "inbox").await? {
        let step = "DELETE FROM inbox WHERE ctid = ANY (ARRAY(
                        SELECT ctid FROM inbox WHERE received_at < now() - make_interval(days => $1) LIMIT 10000))";
        while sqlx::query(step).bind(INBOX_DAYS).execute(&mut *connection).await?.rows_affected() > 0 {}
    }
    if exists(connection, "idempotency").await? {
        let step = "DELETE FROM idempotency WHERE ctid = ANY (ARRAY(
                        SELECT ctid FROM idempotency WHERE created_at < now() - make_interval(days => $1) LIMIT 10000))";
        while sqlx::query(step).bind(ANSWER_DAYS).execute(&mut *connection).await?.rows_affected() > 0 {}
    }
    Ok(())
}

async fn exists(connection: &mut PgConnection, table: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(table).fetch_one(connection).await
}
