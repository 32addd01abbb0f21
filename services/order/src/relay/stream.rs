//! One sale's stream on its way to Kafka.
//!
//! ```text
//!   read after `position` ──▶ note in SQL ──▶ explode into events ──▶ Kafka ──▶ remember as sent
//!                                                                                    │
//!   trim up to the last entry before the first that is not   ◀───────────────────────┘
//!   wholly in the inbox of the worker
//! ```
//!
//! The note comes first. SQL knows about everything that ever left Redis, so it exposes a Redis that has
//! less. The note also tells whether this is the Redis in which the sale lives. A master that was replaced,
//! and does not know it, may keep deciding for a while, and none of that must reach the books.
//!
//! An entry is trimmed only once SQL has all of its events, so losing Kafka loses nothing. What stays
//! uncommitted too long is read and sent again, from the beginning of what is left.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rocketmart_contracts::topic::RESERVATIONS;
use rocketmart_kit::event::Event;
use rocketmart_stock::{SaleId, StreamEntry, StreamPosition};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{ERROR_PAUSE, Relay};
use crate::store::trust::{self, Leaving};
use crate::store::{books, clock};
use crate::stream_id;

const SOURCE: &str = "/rocketmart/order-relay";
/// How many entries to read at once; each holds the events of one batch of purchases.
const READ_AT_ONCE: usize = 100;
/// How long a read waits for the first new entry.
const READ_WAIT: Duration = Duration::from_millis(200);
const TRIM_EVERY: Duration = Duration::from_millis(500);
/// How many events to look for in the inbox at once.
const LOOK_AT_ONCE: usize = 5_000;
/// After this long without a commit, we send again.
const RESEND_AFTER: Duration = Duration::from_mins(1);
/// The longest pause before the same entries are sent again while no worker takes them.
const RESEND_AT_MOST: Duration = Duration::from_mins(10);

pub(super) struct Stream {
    relay: Relay,
    sale: SaleId,
    /// Id of the last entry sent, `0` at the beginning.
    position: String,
    /// Entries sent and not yet trimmed, oldest first.
    sent: VecDeque<Sent>,
    resend_after: Duration,
    next_trim: Instant,
}

struct Sent {
    entry: String,
    events: usize,
    at: Instant,
}

impl Stream {
    pub(super) fn new(relay: Relay, sale: SaleId) -> Self {
        Self {
            relay,
            sale,
            position: "0".to_owned(),
            sent: VecDeque::new(),
            resend_after: RESEND_AFTER,
            next_trim: Instant::now() + TRIM_EVERY,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.step().await {
                tracing::warn!(sale = %self.sale, error = format!("{error:#}"), "the stream waits");
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(ERROR_PAUSE) => {}
                }
            }
        }
    }

    async fn step(&mut self) -> anyhow::Result<()> {
        {
            let _in_hand = Arc::clone(&self.relay.in_hand).read_owned().await;
            let entries =
                self.relay.stock.read_events(self.sale, &self.position, READ_AT_ONCE, READ_WAIT).await?;
            self.send(entries).await?;
        }
        if Instant::now() >= self.next_trim {
            self.next_trim = Instant::now() + TRIM_EVERY;
            self.trim().await?;
        }
        Ok(())
    }

    /// Sends entries, and moves past them once every event is acknowledged.
    async fn send(&mut self, entries: Vec<StreamEntry>) -> anyhow::Result<()> {
        let Some(last) = entries.last() else { return Ok(()) };
        let (last, incarnation) = (last.id.clone(), last.incarnation);
        let mut entries = entries;
        match trust::note_left(&self.relay.pool, self.sale.0, last.parse()?, incarnation).await? {
            Leaving::Noted => {}
            Leaving::Superseded { void_until_ms } => self.keep_back(&mut entries, void_until_ms)?,
        }
        let mut events = Vec::new();
        let mut sizes = Vec::with_capacity(entries.len());
        for entry in entries {
            sizes.push((entry.id.clone(), entry.events.len()));
            events.extend(explode(self.sale, entry));
        }
        self.relay.producer.send_all(RESERVATIONS, &events).await?;
        metrics::counter!("order_relay_events_total").increment(events.len() as u64);
        let at = Instant::now();
        self.sent.extend(sizes.into_iter().map(|(entry, events)| Sent { entry, events, at }));
        self.position = last;
        Ok(())
    }

    /// Holds back what a replaced Redis decided without knowing that it was replaced. These entries are
    /// neither sent nor trimmed. Whoever receives an older entry recognizes it as void; these would not be
    /// recognized.
    fn keep_back(&self, entries: &mut Vec<StreamEntry>, void_until_ms: i64) -> anyhow::Result<()> {
        let mut kept = Vec::with_capacity(entries.len());
        for entry in entries.drain(..) {
            if entry.id.parse::<StreamPosition>()?.ms <= void_until_ms {
                kept.push(entry);
                continue;
            }
            let orders: Vec<_> = entry.events.iter().map(|event| event.key.as_str()).collect();
            tracing::error!(sale = %self.sale, entry = entry.id, ?orders, "decided by a Redis that was replaced");
            metrics::counter!("order_relay_kept_back_total").increment(orders.len() as u64);
        }
        *entries = kept;
        Ok(())
    }

    /// Trims what SQL has, up to the first entry that it lacks.
    async fn trim(&mut self) -> anyhow::Result<()> {
        while let Some((committed, all)) = self.committed().await? {
            if let Some(last) = committed.checked_sub(1).and_then(|index| self.sent.get(index)) {
                self.relay.stock.trim(self.sale, &last.entry).await?;
                self.sent.drain(..committed);
                self.resend_after = RESEND_AFTER;
            }
            if !all {
                break;
            }
        }
        if self.sent.front().is_some_and(|oldest| oldest.at.elapsed() > self.resend_after) {
            tracing::warn!(sale = %self.sale, entries = self.sent.len(), "not committed for long: sending again");
            metrics::counter!("order_relay_resends_total").increment(1);
            self.resend_after = (self.resend_after * 2).min(RESEND_AT_MOST);
            self.sent.clear();
            "0".clone_into(&mut self.position);
        }
        Ok(())
    }

    /// How many of the oldest entries SQL has in full, and whether those were all we looked at; `None` when
    /// there is nothing to look at.
    async fn committed(&self) -> anyhow::Result<Option<(usize, bool)>> {
        let mut ids = Vec::new();
        let mut looked_at = 0;
        for sent in &self.sent {
            if ids.len() >= LOOK_AT_ONCE {
                break;
            }
            ids.extend((0..sent.events).map(|index| stream_id::of(self.sale, &sent.entry, index)));
            looked_at += 1;
        }
        if looked_at == 0 {
            return Ok(None);
        }
        let received: HashSet<String> = books::received(&self.relay.pool, &ids).await?.into_iter().collect();
        let is_committed = |sent: &&Sent| {
            (0..sent.events).all(|index| received.contains(&stream_id::of(self.sale, &sent.entry, index)))
        };
        let committed = self.sent.iter().take(looked_at).take_while(is_committed).count();
        Ok(Some((committed, committed == looked_at)))
    }
}

/// One Kafka event per event of a batch.
fn explode(sale: SaleId, entry: StreamEntry) -> Vec<Event> {
    let written_ms = entry.id.split('-').next().and_then(|ms| ms.parse().ok()).unwrap_or_default();
    let events = entry.events.into_iter().enumerate().map(|(index, event)| Event {
        id: stream_id::of(sale, &entry.id, index),
        source: SOURCE.to_owned(),
        event_type: event.event_type,
        time: clock::at(written_ms),
        key: event.key,
        traceparent: event.traceparent,
        data: Bytes::from(event.data),
    });
    events.collect()
}

#[cfg(test)]
mod tests {
    use rocketmart_stock::StreamEvent;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_entry_explodes_into_events_whose_ids_name_their_place() {
        let event = StreamEvent {
            event_type: "rocketmart.reservation.released.v1".into(),
            key: "order".into(),
            traceparent: None,
            data: r#"{"order_id": "order"}"#.into(),
        };
        let sale = SaleId(Uuid::nil());
        let id = "1700000000123-4".into();
        let entry = StreamEntry { id, incarnation: 0, events: vec![event.clone(), event] };
        let events = explode(sale, entry);
        assert_eq!(events[0].data, r#"{"order_id": "order"}"#, "carried on byte by byte");
        let ids: Vec<_> = events.iter().map(|event| event.id.as_str()).collect();
        let nil = Uuid::nil();
        assert_eq!(ids, [format!("{nil}/1700000000123-4/0"), format!("{nil}/1700000000123-4/1")]);
        assert_eq!(clock::ms(events[0].time), 1_700_000_000_123);
    }
}
