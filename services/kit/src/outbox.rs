//! Facts and the events about them in one transaction, and each event handled once.
//!
//! A service writes its events with [`put`], in the transaction that makes them true. [`publish_loop`] moves
//! them to Kafka in the order of their positions, and keeps what the brokers have acknowledged until its
//! readers have it. After a crash in between it sends them again. Receivers pass the ids of a batch through
//! [`inbox_filter`], in the transaction of their own work, and skip what is not new.
//!
//! Events of one key keep their order as long as a transaction locks what the key names before it puts events
//! about it.
//! events about it.

mod publisher;

use std::collections::HashSet;

pub use publisher::{Readers, publish_loop};
use sqlx::PgConnection;

use crate::event::Event;

/// The tables. A service's migrations repeat this.
///
/// Rows live for seconds, so the outbox is vacuumed by count and not by share of its size. Rows before
/// `outbox_sent.before` were sent; some of the others may have been. Ids are compared as bytes: by a
/// language's collation it would take longer than the rest of the look-up.
pub const SCHEMA: &str = "
CREATE TABLE outbox (
    position    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic       text NOT NULL,
    key         text NOT NULL,
    id          text NOT NULL,
    type        text NOT NULL,
    source      text NOT NULL,
    time        timestamptz NOT NULL,
    traceparent text,
    data        bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE outbox_sent (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    before bigint  NOT NULL
) WITH (fillfactor = 25);
INSERT INTO outbox_sent (before) VALUES (0);

CREATE TABLE inbox (
    id          text COLLATE \"C\" PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now()
);
";

/// Writes events about what this transaction does; they go to `topic` once it commits.
pub async fn put(connection: &mut PgConnection, topic: &str, events: &[Event]) -> sqlx::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&Event) -> &str| events.iter().map(of).collect::<Vec<_>>();
    sqlx::query(
        "INSERT INTO outbox (topic, key, id, type, source, time, traceparent, data)
         SELECT $1, key, id, type, source, time, traceparent, data
         FROM UNNEST($2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::bytea[])
              WITH ORDINALITY AS e (key, id, type, source, time, traceparent, data, n)
         ORDER BY n",
    )
    .bind(topic)
    .bind(column(|e| &e.key))
    .bind(column(|e| &e.id))
    .bind(column(|e| &e.event_type))
    .bind(column(|e| &e.source))
    .bind(events.iter().map(|e| e.time).collect::<Vec<_>>())
    .bind(events.iter().map(|e| e.traceparent.as_deref()).collect::<Vec<_>>())
    .bind(events.iter().map(|e| &*e.data).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Records the ids as received, and returns those that are new.
///
/// It waits for another transaction that is receiving the same id, so only one of the two finds it new.
pub async fn inbox_filter(connection: &mut PgConnection, ids: &[String]) -> sqlx::Result<HashSet<String>> {
    // Sorted, so that two transactions with ids in common cannot deadlock.
    let mut sorted: Vec<&str> = ids.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let new = sqlx::query_scalar(
        "INSERT INTO inbox (id) SELECT id FROM UNNEST($1::text[]) AS e (id)
         ON CONFLICT DO NOTHING RETURNING id",
    )
    .bind(sorted)
    .fetch_all(connection)
    .await?;
    Ok(new.into_iter().collect())
}

/// Takes ids out of the inbox again: we looked at these events and did not handle them.
pub async fn inbox_forget(connection: &mut PgConnection, ids: &[String]) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM inbox WHERE id = ANY($1)").bind(ids).execute(connection).await?;
    Ok(())
}
