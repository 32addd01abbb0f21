//! Facts and the events about them in one transaction, and each event taken once.
//!
//! A service writes its events with [`put`] in the transaction that makes them true;
//! [`publish_loop`] moves them to Kafka in the order of their positions and deletes what the
//! brokers have acknowledged. A crash in between sends again; receivers pass the ids of a batch
//! through [`inbox_filter`] in the transaction of their own work, and skip what is not new.
//!
//! Positions are taken before their transactions commit, so a lower one may appear after a higher
//! one was sent. Nothing is skipped by that, since every look starts from the lowest; and events
//! of one key keep their order as long as a transaction locks what the key names before it puts
//! events about it.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::event::Event;
use crate::kafka::Producer;
use crate::retention;

/// The tables; a service's first migration repeats this.
///
/// Rows live for milliseconds, so the outbox is vacuumed by count and not by share of its size:
/// dead rows at the start of its index would slow down every look for the next event. Ids are compared
/// as bytes: by the rules of a language it would take longer than the rest of their look-up.
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

CREATE TABLE inbox (
    id          text COLLATE \"C\" PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now()
);
";

/// Events sent at once.
const BATCH: i64 = 1000;
/// Pause between looks at an empty outbox. `NOTIFY` would be quicker by a few milliseconds, but it
/// takes a lock of the whole server at every commit.
const IDLE: Duration = Duration::from_millis(50);
/// Pause before asking again whether the present publisher has gone.
const STANDBY: Duration = Duration::from_secs(1);
/// Pause after a failure of the database or of Kafka.
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// How often the depth is measured.
const DEPTH_INTERVAL: Duration = Duration::from_secs(5);
/// How often old ids and answers are deleted.
const FORGET_INTERVAL: Duration = Duration::from_hours(1);
/// Advisory lock of the publisher; per database.
const PUBLISHER_LOCK: i64 = 0x726d_6f75_7462_6f78;

/// Writes events about what this transaction does, to be sent to `topic` once it commits.
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

/// Records the ids as received and returns those that were not received before.
///
/// Waits for another transaction that is receiving the same id, so of two only one finds it new.
pub async fn inbox_filter(connection: &mut PgConnection, ids: &[String]) -> sqlx::Result<HashSet<String>> {
    // Sorted, so that two transactions with ids in common cannot wait for each other.
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

/// Takes ids out of the inbox again: they were looked at and not received.
pub async fn inbox_forget(connection: &mut PgConnection, ids: &[String]) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM inbox WHERE id = ANY($1)").bind(ids).execute(connection).await?;
    Ok(())
}

/// Publishes the outbox of `pool` until `stop`; of all processes that call it one works at a time.
///
/// Failures of the database and of Kafka are logged and outlasted.
pub async fn publish_loop(pool: PgPool, producer: Producer, stop: CancellationToken) -> anyhow::Result<()> {
    while !stop.is_cancelled() {
        let pause = match publish_as_leader(&pool, &producer, &stop).await {
            Ok(()) => STANDBY,
            Err(error) => {
                metrics::counter!("outbox_errors_total").increment(1);
                tracing::warn!(error = format!("{error:#}"), "cannot publish the outbox, trying again");
                ERROR_PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(pause) => {}
        }
    }
    Ok(())
}

/// Publishes while this process holds the lock; returns when another does, or at `stop`.
async fn publish_as_leader(
    pool: &PgPool,
    producer: &Producer,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut connection = pool.acquire().await?;
    let leader: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(PUBLISHER_LOCK)
        .fetch_one(&mut *connection)
        .await?;
    if !leader {
        return Ok(());
    }
    // The lock belongs to the session, so the session must end with it: the connection leaves the
    // pool for good, and is closed however this function ends.
    let mut connection = connection.detach();
    let mut measured: Option<Instant> = None;
    let mut forgot: Option<Instant> = None;
    while !stop.is_cancelled() {
        if forgot.is_none_or(|at| at.elapsed() >= FORGET_INTERVAL) {
            retention::forget(&mut connection).await?;
            forgot = Some(Instant::now());
        }
        if measured.is_none_or(|at| at.elapsed() >= DEPTH_INTERVAL) {
            measure_depth(&mut connection).await?;
            measured = Some(Instant::now());
        }
        if publish_batch(&mut connection, producer).await? == 0 {
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(IDLE) => {}
            }
        }
    }
    sqlx::Connection::close(connection).await?;
    Ok(())
}

async fn measure_depth(connection: &mut PgConnection) -> sqlx::Result<()> {
    let depth: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(connection).await?;
    #[expect(clippy::cast_precision_loss, reason = "a depth beyond 2^52 is not told apart")]
    metrics::gauge!("outbox_depth").set(depth as f64);
    Ok(())
}

/// Sends the oldest events and deletes them; how many there were.
async fn publish_batch(connection: &mut PgConnection, producer: &Producer) -> anyhow::Result<usize> {
    let rows = sqlx::query(
        "SELECT position, topic, key, id, type, source, time, traceparent, data
         FROM outbox ORDER BY position LIMIT $1",
    )
    .bind(BATCH)
    .fetch_all(&mut *connection)
    .await?;
    let mut positions = Vec::with_capacity(rows.len());
    let mut by_topic: Vec<(String, Vec<Event>)> = Vec::new();
    for row in &rows {
        positions.push(row.try_get::<i64, _>("position")?);
        let topic: String = row.try_get("topic")?;
        let event = event(row)?;
        match by_topic.iter_mut().find(|(known, _)| *known == topic) {
            Some((_, events)) => events.push(event),
            None => by_topic.push((topic, vec![event])),
        }
    }
    for (topic, events) in &by_topic {
        producer.send_all(topic, events).await?;
    }
    if !positions.is_empty() {
        sqlx::query("DELETE FROM outbox WHERE position = ANY($1)")
            .bind(&positions)
            .execute(connection)
            .await?;
        metrics::counter!("outbox_published_total").increment(positions.len() as u64);
    }
    Ok(positions.len())
}

fn event(row: &PgRow) -> sqlx::Result<Event> {
    Ok(Event {
        id: row.try_get("id")?,
        source: row.try_get("source")?,
        event_type: row.try_get("type")?,
        time: row.try_get::<OffsetDateTime, _>("time")?,
        key: row.try_get("key")?,
        traceparent: row.try_get("traceparent")?,
        data: Bytes::from(row.try_get::<Vec<u8>, _>("data")?),
    })
}
