//! Parcels on their way to the buyer or back: their steps, and the event for each step.

use std::collections::HashSet;
use std::time::Duration;

use rocketmart_kit::event::Event;
use rocketmart_kit::outbox;
use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::carrier::{Parcel, Tracking};
use crate::domain::journey::Journey;
use crate::events;

/// A kind of journey that has its own table.
pub(crate) trait Kept: Journey {
    /// The state before a parcel leaves, and the one while it moves; we ask about no others.
    const WAITING: Self;
    const MOVING: Self;

    /// Selects up to `$1` ids of due parcels, and whether each one is moving; locks them.
    const DUE: &str;
    /// Takes those steps of `unnest($1 ids, $2 states, $3 tracking numbers, $4 pauses)` that come next, and
    /// returns each as a [`Moved`].
    const STEP: &str;
    /// Makes the parcels `$1` due again after `$2`.
    const LOOK_AGAIN: &str;

    /// The event for the order.
    fn event(moved: &Moved) -> Option<Event>;
}

/// A parcel that took a step, including its first.
#[derive(sqlx::FromRow)]
pub(crate) struct Moved {
    pub(super) id: Uuid,
    pub(super) order_id: Uuid,
    pub(super) state: String,
    pub(super) at: OffsetDateTime,
    pub(super) tracking_number: Option<String>,
    pub(super) traceparent: Option<String>,
}

pub(super) async fn announce<K: Kept>(connection: &mut PgConnection, moved: &[Moved]) -> sqlx::Result<()> {
    let events = moved.iter().filter_map(|m| Some(K::event(m)?.in_trace(m.traceparent.as_deref())));
    let events: Vec<Event> = events.collect();
    outbox::put(connection, events::DELIVERIES, &events).await
}

/// Up to `limit` parcels to ask the carrier about, locked until the transaction ends. Skips those that
/// another worker has locked.
pub(crate) async fn due<K: Kept>(connection: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<Parcel<K>>> {
    let rows: Vec<(Uuid, bool)> = sqlx::query_as(K::DUE).bind(limit).fetch_all(connection).await?;
    let parcel = |(id, moves)| Parcel { id, state: if moves { K::MOVING } else { K::WAITING } };
    Ok(rows.into_iter().map(parcel).collect())
}

/// Records what the carrier said about locked parcels, with an event for each that took its next step. We ask
/// again later about those that did not, and about those that the carrier did not mention.
pub(crate) async fn record<K: Kept>(
    connection: &mut PgConnection,
    parcels: &[Parcel<K>],
    tracked: &[Tracking<K>],
    retry: Duration,
) -> sqlx::Result<usize> {
    let moved: Vec<Moved> = sqlx::query_as(K::STEP)
        .bind(tracked.iter().map(|t| t.id).collect::<Vec<_>>())
        .bind(tracked.iter().map(|t| t.state.as_str()).collect::<Vec<_>>())
        .bind(tracked.iter().map(|t| t.tracking_number.as_str()).collect::<Vec<_>>())
        .bind(tracked.iter().map(|t| interval(t.look_again)).collect::<Vec<_>>())
        .fetch_all(&mut *connection)
        .await?;
    let moved_ids: HashSet<Uuid> = moved.iter().map(|m| m.id).collect();
    let at_rest: Vec<Uuid> = parcels.iter().map(|p| p.id).filter(|id| !moved_ids.contains(id)).collect();
    if !at_rest.is_empty() {
        sqlx::query(K::LOOK_AGAIN).bind(at_rest).bind(interval(retry)).execute(&mut *connection).await?;
    }
    announce::<K>(connection, &moved).await?;
    Ok(moved.len())
}

pub(super) fn interval(duration: Duration) -> PgInterval {
    let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}
