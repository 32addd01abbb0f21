//! From the rows of products to the topic `products`: every event, in the order of the versions.
//!
//! ```text
//!  notes since `settled_until` ──▶ rows (settled) ──▶ one Kafka transaction ──▶ events leave their rows
//! ```
//!
//! One replica publishes at a time, the one whose row in `leases` is alive. That row only avoids double work.
//! What keeps a replica that was believed dead from writing old events behind new ones is the brokers, which
//! accept only the newest publisher ([`FencedProducer`]). An event leaves its row after the brokers have it.
//! After a crash in between it is sent again, and all later events of its product after it.
//!
//! A note counts as settled when its product has that version (or a later one) and no event left, or when it
//! is so old that the change it announces can no longer happen. `settled_until` stays behind every note that
//! is not settled, and outlives the publisher. Should a change happen even later than that, its event stays
//! in its row until the product changes again, or until the daily sweep through all products finds it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use rocketmart_kit::config::KafkaConfig;
use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::FencedProducer;
use scylla::DeserializeRow;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::cluster::Cluster;
use super::pending::{LANDING, Note, PendingEvent, half_minute};
use super::{marks, rows};
use crate::domain;
use crate::events;
use crate::store::{Result, StoreError};

/// The name of the lease, of the producer and of the progress.
const NAME: &str = "catalog-publisher";
/// Seconds after which another replica may take over from one that fell silent.
const LEASE_SECONDS: i32 = 15;
const RENEW_AFTER: Duration = Duration::from_secs(5);
/// Pause between looks for new notes.
const IDLE: Duration = Duration::from_millis(100);
const STANDBY: Duration = Duration::from_secs(1);
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// How many products we look at together.
const BATCH: usize = 500;
const AT_ONCE: usize = 16;
const SWEEP_INTERVAL: time::Duration = time::Duration::days(1);

/// Publishes until `stop`. Of all the processes that call it, one works at a time.
///
/// It logs failures of Cassandra and of Kafka, and outlasts them.
pub(super) async fn publish_loop(
    cluster: Arc<Cluster>,
    kafka: KafkaConfig,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let me = Uuid::new_v4();
    while !stop.is_cancelled() {
        let pause = match publish_as_leader(&cluster, &kafka, me, &stop).await {
            Ok(()) => STANDBY,
            Err(error) => {
                metrics::counter!("outbox_errors_total").increment(1);
                tracing::warn!(error = format!("{error:#}"), "cannot publish what changed, trying again");
                ERROR_PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(pause) => {}
        }
    }
    let _ = cluster.conditionally("DELETE FROM leases WHERE name = ? IF holder = ?", (NAME, me)).await;
    Ok(())
}

/// Publishes while the lease is ours. Returns when another replica has it, or at `stop`.
async fn publish_as_leader(
    cluster: &Cluster,
    kafka: &KafkaConfig,
    me: Uuid,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    if !acquire(cluster, me).await? {
        return Ok(());
    }
    let mut publisher = Publisher {
        cluster,
        producer: FencedProducer::take_over(kafka, NAME).await?,
        settled: HashSet::new(),
        progress: Progress::load(cluster).await?,
    };
    let mut renewed = Instant::now();
    while !stop.is_cancelled() {
        if renewed.elapsed() >= RENEW_AFTER {
            publisher.progress.save(cluster).await?;
            if !acquire(cluster, me).await? {
                return Ok(());
            }
            renewed = Instant::now();
        }
        publisher.sweep_if_due().await?;
        if publisher.publish_new().await? == 0 {
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(IDLE) => {}
            }
        }
    }
    publisher.progress.save(cluster).await?;
    Ok(())
}

async fn acquire(cluster: &Cluster, me: Uuid) -> Result<bool> {
    let kept = cluster
        .conditionally(
            "UPDATE leases USING TTL ? SET holder = ? WHERE name = ? IF holder = ?",
            (LEASE_SECONDS, me, NAME, me),
        )
        .await?;
    if kept.is_applied() {
        return Ok(true);
    }
    let taken = cluster
        .conditionally(
            "UPDATE leases USING TTL ? SET holder = ? WHERE name = ? IF holder = null",
            (LEASE_SECONDS, me, NAME),
        )
        .await?;
    Ok(taken.is_applied())
}

/// How far all the publishers together have come.
struct Progress {
    settled_until: OffsetDateTime,
    swept_at: Option<OffsetDateTime>,
}

impl Progress {
    async fn load(cluster: &Cluster) -> Result<Self> {
        let rows: Vec<(Option<OffsetDateTime>, Option<OffsetDateTime>)> =
            cluster.read("SELECT settled_until, swept_at FROM progress WHERE name = ?", (NAME,)).await?;
        let (settled_until, swept_at) = rows.into_iter().next().unwrap_or_default();
        // Without stored progress there is a sweep, which finds what is older.
        Ok(Self { settled_until: settled_until.unwrap_or_else(|| domain::now() - LANDING), swept_at })
    }

    async fn save(&self, cluster: &Cluster) -> Result<()> {
        cluster
            .write(
                "INSERT INTO progress (name, settled_until, swept_at) VALUES (?, ?, ?)",
                (NAME, self.settled_until, self.swept_at),
            )
            .await
    }
}

struct Publisher<'a> {
    cluster: &'a Cluster,
    producer: FencedProducer,
    /// Settled notes that are younger than `settled_until`.
    settled: HashSet<Note>,
    progress: Progress,
}

/// The part of a product's row that the publisher needs.
#[derive(DeserializeRow)]
struct PendingRow {
    id: Uuid,
    version: Option<i64>,
    state: Option<String>,
    pending: Option<BTreeMap<i64, String>>,
}

impl Publisher<'_> {
    /// Publishes what the notes lead to, and returns how many events there were.
    async fn publish_new(&mut self) -> anyhow::Result<usize> {
        let now = domain::now();
        let mut notes = Vec::new();
        for partition in half_minute(self.progress.settled_until)..=half_minute(now + LANDING) {
            let listed = Note::list(self.cluster, partition, self.progress.settled_until).await?;
            notes.extend(listed.into_iter().filter(|note| !self.settled.contains(note)));
        }
        let mut published = 0;
        let mut oldest_open = now - LANDING;
        for batch in notes.chunks(BATCH) {
            let ids: HashSet<Uuid> = batch.iter().map(|note| note.product_id).collect();
            let (versions, events) = self.publish(ids.into_iter().collect()).await?;
            published += events;
            for note in batch {
                let has_landed =
                    versions.get(&note.product_id).is_some_and(|version| *version >= note.version);
                if has_landed || now - note.marked_at > LANDING {
                    self.settled.insert(*note);
                } else {
                    oldest_open = oldest_open.min(note.marked_at);
                }
            }
        }
        let settled_until = oldest_open.max(self.progress.settled_until);
        self.settled.retain(|note| note.marked_at >= settled_until);
        self.progress.settled_until = settled_until;
        Ok(published)
    }

    /// Publishes the events in the rows of these products. Returns the products' versions and how many events
    /// there were.
    async fn publish(&self, ids: Vec<Uuid>) -> anyhow::Result<(HashMap<Uuid, i64>, usize)> {
        let rows: Vec<Vec<PendingRow>> = stream::iter(ids)
            .map(|id| {
                let select = "SELECT id, version, state, pending FROM products WHERE id = ?";
                self.cluster.read_settled::<PendingRow>(select, (id,))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let rows: Vec<PendingRow> = rows.into_iter().flatten().collect();
        let mut events: Vec<Event> = Vec::new();
        for row in &rows {
            for json in row.pending.iter().flat_map(BTreeMap::values) {
                events.push(PendingEvent::from_json(json)?.into_event(row.id));
            }
        }
        self.producer.send_all(events::PRODUCTS, &events).await?;
        stream::iter(rows.iter().map(Ok::<_, StoreError>))
            .try_for_each_concurrent(AT_ONCE, |row| self.clear(row))
            .await?;
        metrics::counter!("outbox_published_total").increment(events.len() as u64);
        let versions = rows.iter().filter_map(|row| Some((row.id, row.version?))).collect();
        Ok((versions, events.len()))
    }

    /// Removes from the row what was published.
    async fn clear(&self, row: &PendingRow) -> Result<()> {
        let Some(pending) = row.pending.as_ref().filter(|pending| !pending.is_empty()) else { return Ok(()) };
        let versions: HashSet<i64> = pending.keys().copied().collect();
        self.cluster
            .conditionally(
                "UPDATE products SET pending = pending - ? WHERE id = ? IF version >= ?",
                (versions, row.id, pending.keys().max().copied()),
            )
            .await?;
        if let (Some("deleted"), Some(version)) = (row.state.as_deref(), row.version) {
            rows::bury(self.cluster, row.id, version).await?;
            marks::forget(self.cluster, row.id).await?;
        }
        Ok(())
    }

    /// Looks through all products once in a while, whatever the notes say.
    async fn sweep_if_due(&mut self) -> anyhow::Result<()> {
        let now = domain::now();
        if self.progress.swept_at.is_some_and(|swept_at| now - swept_at < SWEEP_INTERVAL) {
            return Ok(());
        }
        let mut found = Vec::new();
        self.cluster
            .scan("SELECT id, version, state, pending FROM products", |row: PendingRow| {
                if row.pending.is_some_and(|pending| !pending.is_empty()) {
                    found.push(row.id);
                }
            })
            .await?;
        for batch in found.chunks(BATCH) {
            self.publish(batch.to_vec()).await?;
        }
        self.progress.swept_at = Some(now);
        self.progress.save(self.cluster).await?;
        Ok(())
    }
}
