//! Moves the outbox to Kafka, and keeps what it has sent until the readers have it.
//!
//! ```text
//!   look: from the cursor on, and into the gaps ──▶ send ──▶ kept ──▶ its readers have committed it ──▶ deleted
//!     ▲                                                       │
//!     └── from the beginning ◀── Kafka may have lost something, or another process publishes now
//! ```
//! Brokers may still lose what they have acknowledged: somebody deletes a topic, or a cluster comes back
//! empty. What nobody had read then exists only here. It is sent again, behind what the readers already have.
//!
//! A row gets its position before its transaction commits, so a lower position may appear after a higher one
//! was sent. A position missing below the cursor is a gap. Most gaps fill within milliseconds; one whose
//! transaction was rolled back never does. We give up on a gap after a while, and notice a row that appears
//! in it even later by counting.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use rocketmart_contracts::component::Component;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::config::KafkaConfig;
use crate::event::Event;
use crate::kafka::{Ends, GroupProgress, Producer};
use crate::retention;

/// Events sent at once, not counting those in gaps.
const BATCH: i64 = 1000;
/// Pause between looks at an empty outbox. `NOTIFY` would be quicker by a few milliseconds, but it takes a
/// server-wide lock at every commit.
const IDLE: Duration = Duration::from_millis(50);
/// Pause before we check again whether the present publisher has gone.
const STANDBY: Duration = Duration::from_secs(1);
/// Pause after a failure of the database or of Kafka.
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// How often the rows are counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(5);
/// How often old ids and answers are deleted.
const FORGET_INTERVAL: Duration = Duration::from_hours(1);
/// How long a transaction may take from its first event to its commit before only counting will find it.
const GAP_PATIENCE: Duration = Duration::from_secs(10);
/// How many missing positions we look for at most.
const GAPS: usize = 10_000;
/// How long we keep sent events at least: by then a [`Producer`] has noticed that its topic was recreated.
const SURE: Duration = Duration::from_secs(10);
/// How long we keep them for a reader that does not come.
const LONGEST: Duration = Duration::from_hours(1);
/// How often we check whether they have been read.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// Advisory lock of the publisher; per database.
const PUBLISHER_LOCK: i64 = 0x726d_6f75_7462_6f78;

/// The components that read what an outbox publishes.
#[derive(Clone)]
pub struct Readers {
    config: KafkaConfig,
    topic: &'static str,
    components: Vec<&'static str>,
}

impl Readers {
    /// The components that handle `topic` (without the prefix).
    pub fn of(config: &KafkaConfig, topic: &'static str) -> Self {
        let components: Vec<_> = Component::consumers_of(topic).map(Component::as_str).collect();
        Self::new(config, topic, &components)
    }

    /// The given components as readers of `topic` (without the prefix), by the names of their consumer
    /// groups.
    pub fn new(config: &KafkaConfig, topic: &'static str, components: &[&'static str]) -> Self {
        Self { config: config.clone(), topic, components: components.to_vec() }
    }

    fn groups(&self) -> anyhow::Result<Vec<GroupProgress>> {
        let group = |component| GroupProgress::new(&self.config, component, &[self.topic]);
        self.components.iter().copied().map(group).collect()
    }
}

/// Publishes the outbox of `pool` until `stop`. Of all the processes that call it, one works at a time.
///
/// It logs failures of the database and of Kafka, and outlasts them.
pub async fn publish_loop(
    pool: PgPool,
    producer: Producer,
    readers: Readers,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    while !stop.is_cancelled() {
        let pause = match publish_as_leader(&pool, &producer, &readers, &stop).await {
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
    readers: &Readers,
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
    // The lock belongs to the session, so the session must end with it: the connection leaves the pool for
    // good, and closes however this function ends.
    let mut publisher = Publisher::begin(connection.detach(), producer, readers.groups()?).await?;
    while !stop.is_cancelled() {
        if publisher.work().await? == 0 {
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(IDLE) => {}
            }
        }
    }
    sqlx::Connection::close(publisher.connection).await?;
    Ok(())
}

/// Publishes an outbox from the beginning of the table.
struct Publisher<'a> {
    connection: PgConnection,
    producer: &'a Producer,
    groups: Vec<GroupProgress>,
    /// The producer's epoch when this publisher began.
    epoch: u64,
    /// Every row before it was sent or is in a gap; 0 before the first row.
    cursor: i64,
    /// `outbox_sent.before`, as the last publisher left it: no row before it is still to come.
    floor: i64,
    /// Positions before the cursor that had no row, and since when.
    gaps: BTreeMap<i64, Instant>,
    /// Sent and not yet deleted, in batches.
    sent: VecDeque<Vec<i64>>,
    /// `outbox_sent.before`, as we last wrote it.
    noted: Option<i64>,
    checkpoint: Option<Checkpoint>,
    forgot: Option<Instant>,
    counted: Option<Instant>,
    looked: Instant,
}

/// How far the readers must come before the first batches may be deleted.
struct Checkpoint {
    batches: usize,
    at: Instant,
    /// For each group.
    ends: Vec<Ends>,
}

impl<'a> Publisher<'a> {
    async fn begin(
        mut connection: PgConnection,
        producer: &'a Producer,
        groups: Vec<GroupProgress>,
    ) -> sqlx::Result<Self> {
        let floor = sqlx::query_scalar("SELECT before FROM outbox_sent").fetch_one(&mut connection).await?;
        Ok(Self {
            connection,
            producer,
            groups,
            epoch: producer.epoch(),
            cursor: 0,
            floor,
            gaps: BTreeMap::new(),
            sent: VecDeque::new(),
            noted: None,
            checkpoint: None,
            forgot: None,
            counted: None,
            looked: Instant::now(),
        })
    }

    /// Does whatever is due, and returns how many events it sent.
    async fn work(&mut self) -> anyhow::Result<usize> {
        if self.forgot.is_none_or(|at| at.elapsed() >= FORGET_INTERVAL) {
            retention::forget(&mut self.connection).await?;
            self.forgot = Some(Instant::now());
        }
        if self.counted.is_none_or(|at| at.elapsed() >= COUNT_INTERVAL) {
            self.count().await?;
            self.counted = Some(Instant::now());
        }
        if self.looked.elapsed() >= READ_INTERVAL {
            self.forget_read().await?;
            self.looked = Instant::now();
        }
        self.ensure_nothing_is_lost()?;
        self.publish().await
    }

    /// Sends the next events, and returns how many.
    async fn publish(&mut self) -> anyhow::Result<usize> {
        let rows = self.next_rows().await?;
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
            self.producer.send_all(topic, events).await?;
        }
        self.move_on(&positions);
        let count = positions.len();
        if count > 0 {
            metrics::counter!("outbox_published_total").increment(count as u64);
            self.sent.push_back(positions);
        }
        self.note_sent().await?;
        Ok(count)
    }

    /// In the order of their positions. One statement, so one snapshot: of two transactions that follow each
    /// other it never sees the later one alone.
    async fn next_rows(&mut self) -> sqlx::Result<Vec<PgRow>> {
        let gaps: Vec<i64> = self.gaps.keys().copied().collect();
        let rows = "SELECT * FROM outbox WHERE position = ANY($1)
             UNION ALL (SELECT * FROM outbox WHERE position >= $2 ORDER BY position LIMIT $3)
             ORDER BY position";
        sqlx::query(rows).bind(gaps).bind(self.cursor).bind(BATCH).fetch_all(&mut self.connection).await
    }

    /// Updates cursor and gaps for these positions.
    fn move_on(&mut self, positions: &[i64]) {
        let now = Instant::now();
        self.gaps.retain(|_, since| now.duration_since(*since) < GAP_PATIENCE);
        for position in positions {
            if *position < self.cursor {
                self.gaps.remove(position);
                continue;
            }
            // Before the first row, too, there may be rows of a transaction that is not committed yet.
            let from = if self.cursor > 0 { self.cursor } else { self.floor.max(1) };
            let room = GAPS.saturating_sub(self.gaps.len());
            self.gaps.extend((from..*position).rev().take(room).map(|gap| (gap, now)));
            self.cursor = position + 1;
        }
    }

    /// Every row before this position was sent.
    fn sent_before(&self) -> i64 {
        self.gaps.first_key_value().map_or(self.cursor, |(gap, _)| *gap)
    }

    async fn note_sent(&mut self) -> sqlx::Result<()> {
        if self.cursor == 0 {
            // The table is empty. What the last publisher noted still holds, and the next one looks for gaps
            // from there: from 0 on it would look for thousands of rows that are long gone.
            return Ok(());
        }
        let before = self.sent_before();
        if self.noted != Some(before) {
            sqlx::query("UPDATE outbox_sent SET before = $1")
                .bind(before)
                .execute(&mut self.connection)
                .await?;
            self.noted = Some(before);
        }
        Ok(())
    }

    /// Counts what is left to send, and finds rows that appeared where we no longer look.
    async fn count(&mut self) -> anyhow::Result<()> {
        let before = self.sent_before();
        let (sent, unsent): (i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE position < $1), count(*) FILTER (WHERE position >= $1) FROM outbox",
        )
        .bind(before)
        .fetch_one(&mut self.connection)
        .await?;
        #[expect(clippy::cast_precision_loss, reason = "a depth beyond 2^52 is not told apart")]
        metrics::gauge!("outbox_depth").set(unsent as f64);
        let ours = self.sent.iter().flatten().filter(|position| **position < before).count();
        let missed = sent - i64::try_from(ours)?;
        ensure!(missed <= 0, "{missed} events became visible long after later ones: beginning anew");
        Ok(())
    }

    /// Deletes what every reader has committed.
    async fn forget_read(&mut self) -> anyhow::Result<()> {
        let Some(checkpoint) = &self.checkpoint else {
            if !self.sent.is_empty() {
                // Without an answer there is no checkpoint yet.
                self.checkpoint = self.checkpoint().await.inspect_err(not_told).ok();
            }
            return Ok(());
        };
        let kept = checkpoint.at.elapsed();
        if kept < SURE || kept < LONGEST && !self.is_read(checkpoint).await {
            return Ok(());
        }
        self.ensure_nothing_is_lost()?;
        let read: Vec<i64> = self.sent.drain(..checkpoint.batches).flatten().collect();
        self.checkpoint = None;
        sqlx::query("DELETE FROM outbox WHERE position = ANY($1)")
            .bind(read)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    async fn checkpoint(&self) -> anyhow::Result<Checkpoint> {
        let mut ends = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            ends.push(group.ends().await?);
        }
        Ok(Checkpoint { batches: self.sent.len(), at: Instant::now(), ends })
    }

    async fn is_read(&self, checkpoint: &Checkpoint) -> bool {
        for (group, ends) in self.groups.iter().zip(&checkpoint.ends) {
            match group.behind(ends).await {
                Ok(0) => {}
                Ok(_) => return false,
                Err(error) => {
                    not_told(&error);
                    return false;
                }
            }
        }
        true
    }

    fn ensure_nothing_is_lost(&self) -> anyhow::Result<()> {
        ensure!(
            self.producer.epoch() == self.epoch,
            "Kafka may have lost what was sent and not read: sending {} batches again",
            self.sent.len()
        );
        Ok(())
    }
}

fn not_told(error: &anyhow::Error) {
    tracing::warn!(error = format!("{error:#}"), "cannot tell what was read of the outbox");
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
