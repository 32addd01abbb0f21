//! An event on its way: as it is kept in a product's row, and the note that tells the publisher where to
//! look.
//!
//! We write notes *before* the product, so there is no event without one. If a note's product never changes,
//! it costs the publisher a look.

use std::time::Duration;

use bytes::Bytes;
use rocketmart_kit::event::Event;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use super::cluster::Cluster;
use crate::domain;
use crate::events;
use crate::store::{Result, StoreError};

/// Milliseconds per partition of notes.
const HALF_MINUTE: i64 = 30_000;
/// How long after its note a change may still happen. A request takes ten seconds at most.
pub(super) const LANDING: Duration = Duration::from_mins(1);

/// An event without what all events of a product have in common.
#[derive(Serialize, Deserialize)]
pub(super) struct PendingEvent {
    id: String,
    #[serde(with = "time::serde::rfc3339")]
    time: OffsetDateTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    /// `None` means a tombstone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

impl PendingEvent {
    pub(super) fn of(event: &Event) -> Result<Self> {
        let data = match std::str::from_utf8(&event.data).map_err(StoreError::unreadable)? {
            "" => None,
            json => Some(RawValue::from_string(json.to_owned()).map_err(StoreError::unreadable)?),
        };
        Ok(Self { id: event.id.clone(), time: event.time, traceparent: event.traceparent.clone(), data })
    }

    pub(super) fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(StoreError::unreadable)
    }

    pub(super) fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(StoreError::unreadable)
    }

    /// Rebuilds the event of the product in whose row it was kept.
    pub(super) fn into_event(self, product_id: Uuid) -> Event {
        Event {
            id: self.id,
            time: self.time,
            traceparent: self.traceparent,
            data: self.data.map_or_else(Bytes::new, |data| Bytes::from(String::from(Box::<str>::from(data)))),
            ..events::deleted(product_id)
        }
    }
}

/// "Look at this product: it is about to have this version."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Note {
    pub(super) marked_at: OffsetDateTime,
    pub(super) product_id: Uuid,
    pub(super) version: i64,
}

impl Note {
    /// Writes a note about a change that is about to happen.
    pub(super) async fn leave(cluster: &Cluster, product_id: Uuid, version: i64) -> Result<Self> {
        let note = Self { marked_at: domain::now(), product_id, version };
        cluster
            .write(
                "INSERT INTO changed (half_minute, marked_at, product_id, version) VALUES (?, ?, ?, ?)",
                (half_minute(note.marked_at), note.marked_at, product_id, version),
            )
            .await?;
        Ok(note)
    }

    /// Writes it again if the change took so long that the publisher may have looked in vain.
    pub(super) async fn renew_if_late(self, cluster: &Cluster) -> Result<()> {
        if domain::now() - self.marked_at > LANDING / 2 {
            Self::leave(cluster, self.product_id, self.version).await?;
        }
        Ok(())
    }

    /// The notes of one partition that are not older than `from`.
    pub(super) async fn list(cluster: &Cluster, half_minute: i64, from: OffsetDateTime) -> Result<Vec<Self>> {
        let rows: Vec<(OffsetDateTime, Uuid, i64)> = cluster
            .read(
                "SELECT marked_at, product_id, version FROM changed WHERE half_minute = ? AND marked_at >= ?",
                (half_minute, from),
            )
            .await?;
        let note = |(marked_at, product_id, version)| Self { marked_at, product_id, version };
        Ok(rows.into_iter().map(note).collect())
    }
}

/// The partition of notes written at `at`.
pub(super) fn half_minute(at: OffsetDateTime) -> i64 {
    let ms = at.unix_timestamp_nanos() / 1_000_000;
    i64::try_from(ms).unwrap_or(i64::MAX).div_euclid(HALF_MINUTE)
}
