//! Returns as workers move them: announced by the order, step by step back to the warehouse.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Context as _;
use rocketmart_kit::event::Event;
use rocketmart_kit::outbox;
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::shipments::interval;
use crate::carrier::{Parcel, Tracking};
use crate::domain::journey::Journey;
use crate::domain::returns::{self, ReturnState};
use crate::domain::shipment::{Line, ShipmentState};
use crate::events::{self, ReturnRequested};

#[derive(sqlx::FromRow)]
struct Shipped {
    id: Uuid,
    state: String,
    lines: Json<Vec<Line>>,
}

/// Inserts a return, unless it is there already, or says why the goods cannot come back.
///
/// One by one under a lock of the shipment: each must see what came back before. Returns are few
/// beside orders.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    request: &ReturnRequested,
    first_look: Duration,
) -> sqlx::Result<anyhow::Result<()>> {
    let shipped: Option<Shipped> = sqlx::query_as(
        "SELECT id, state, lines FROM shipments WHERE order_id = $1 AND buyer_id = $2 FOR UPDATE",
    )
    .bind(request.order_id)
    .bind(request.buyer_id)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(shipped) = shipped else {
        return Ok(Err(anyhow::anyhow!("order {} of this buyer has no shipment", request.order_id)));
    };
    let returned: Vec<(Uuid, Json<Vec<Line>>)> =
        sqlx::query_as("SELECT id, lines FROM returns WHERE shipment_id = $1")
            .bind(shipped.id)
            .fetch_all(&mut *connection)
            .await?;
    if returned.iter().any(|(id, _)| *id == request.return_id) {
        return Ok(Ok(()));
    }
    let returned: Vec<Line> = returned.into_iter().flat_map(|(_, lines)| lines.0).collect();
    if let Err(error) = check(&shipped, &returned, request) {
        return Ok(Err(error));
    }
    let announced: Vec<Moved> = sqlx::query_as(
        "INSERT INTO returns (id, shipment_id, lines, reason, traceparent, state, next_look_at)
         VALUES ($1, $2, $3, $4, $5, 'announced', now() + $6)
         RETURNING id, $7 AS order_id, state, created_at AS at, tracking_number, traceparent",
    )
    .bind(request.return_id)
    .bind(shipped.id)
    .bind(Json(&request.lines))
    .bind(&request.reason)
    .bind(&request.traceparent)
    .bind(interval(first_look))
    .bind(request.order_id)
    .fetch_all(&mut *connection)
    .await?;
    announce(connection, &announced).await?;
    Ok(Ok(()))
}

fn check(shipped: &Shipped, returned: &[Line], request: &ReturnRequested) -> anyhow::Result<()> {
    let state = ShipmentState::parse(&shipped.state)
        .with_context(|| format!("shipment {} has the state {:?}", shipped.id, shipped.state))?;
    returns::check(state, &shipped.lines, returned, &request.lines)
        .with_context(|| format!("return {} of order {}", request.return_id, request.order_id))
}

/// A return that took a step, its first one included.
#[derive(sqlx::FromRow)]
struct Moved {
    id: Uuid,
    order_id: Uuid,
    state: String,
    at: OffsetDateTime,
    tracking_number: Option<String>,
    traceparent: Option<String>,
}

async fn announce(connection: &mut PgConnection, moved: &[Moved]) -> sqlx::Result<()> {
    let events = moved.iter().filter_map(|m| {
        let state = ReturnState::parse(&m.state)?;
        let event = events::return_updated(m.id, m.order_id, state, m.at, m.tracking_number.as_deref());
        Some(events::in_trace(event, m.traceparent.as_deref()))
    });
    let events: Vec<Event> = events.collect();
    outbox::put(connection, events::DELIVERIES, &events).await
}

/// Up to `limit` returns the carrier should be asked about, locked until the transaction ends; those
/// another worker has locked are passed over.
pub(crate) async fn due(connection: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<Parcel<ReturnState>>> {
    let rows: Vec<(Uuid, bool)> = sqlx::query_as(
        "SELECT id, state = 'in_transit' FROM returns
         WHERE next_look_at <= now() ORDER BY next_look_at LIMIT $1 FOR UPDATE SKIP LOCKED",
    )
    .bind(limit)
    .fetch_all(connection)
    .await?;
    // Only moving returns are looked at, and those are in one of two states.
    let parcels = rows.into_iter().map(|(id, collected)| {
        let state = if collected { ReturnState::InTransit } else { ReturnState::Announced };
        Parcel { id, state }
    });
    Ok(parcels.collect())
}

/// Writes what the carrier said about locked returns, with an event for each that took its next step.
/// One that did not, or that the carrier did not mention, is looked at again later.
pub(crate) async fn record(
    connection: &mut PgConnection,
    parcels: &[Parcel<ReturnState>],
    tracked: &[Tracking<ReturnState>],
    retry: Duration,
) -> sqlx::Result<usize> {
    let moved: Vec<Moved> = sqlx::query_as(
        "UPDATE returns r
         SET state = t.state,
             tracking_number = coalesce(r.tracking_number, t.tracking_number),
             collected_at = coalesce(r.collected_at, now()),
             received_at = CASE t.state WHEN 'received' THEN now() END,
             next_look_at = CASE t.state WHEN 'in_transit' THEN now() + t.look_again END
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::interval[])
              AS t (id, state, tracking_number, look_again), shipments s
         WHERE r.id = t.id AND s.id = r.shipment_id
           AND (r.state, t.state) IN (('announced', 'in_transit'), ('in_transit', 'received'))
         RETURNING r.id, s.order_id, r.state, now() AS at, r.tracking_number, r.traceparent",
    )
    .bind(tracked.iter().map(|t| t.id).collect::<Vec<_>>())
    .bind(tracked.iter().map(|t| t.state.as_str()).collect::<Vec<_>>())
    .bind(tracked.iter().map(|t| t.tracking_number.as_str()).collect::<Vec<_>>())
    .bind(tracked.iter().map(|t| interval(t.look_again)).collect::<Vec<_>>())
    .fetch_all(&mut *connection)
    .await?;
    let moved_ids: HashSet<Uuid> = moved.iter().map(|m| m.id).collect();
    let at_rest: Vec<Uuid> = parcels.iter().map(|p| p.id).filter(|id| !moved_ids.contains(id)).collect();
    sqlx::query("UPDATE returns SET next_look_at = now() + $2 WHERE id = ANY($1)")
        .bind(at_rest)
        .bind(interval(retry))
        .execute(&mut *connection)
        .await?;
    announce(connection, &moved).await?;
    Ok(moved.len())
}
