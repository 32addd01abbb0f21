//! Returns: announced by the order, then step by step back to the warehouse.

use std::time::Duration;

use anyhow::Context as _;
use rocketmart_contracts::event::ReturnRequested;
use rocketmart_kit::event::{Event, Inbound};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::parcels::{Kept, Moved, announce, interval};
use crate::domain::returns::{self, ReturnState};
use crate::domain::shipment::{Line, ShipmentState};
use crate::events;

#[derive(sqlx::FromRow)]
struct Shipped {
    id: Uuid,
    state: String,
    lines: Json<Vec<Line>>,
}

/// Inserts a return unless it already exists, or says why the goods cannot come back.
///
/// One by one under a lock of the shipment, because each must see what came back before. Returns are few
/// compared to orders.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    request: &Inbound<ReturnRequested>,
    lines: &[Line],
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
    if let Err(error) = check(&shipped, &returned, request, lines) {
        return Ok(Err(error));
    }
    let announced: Vec<Moved> = sqlx::query_as(
        "INSERT INTO returns (id, shipment_id, lines, reason, traceparent, state, next_look_at)
         VALUES ($1, $2, $3, $4, $5, 'announced', now() + $6)
         RETURNING id, $7 AS order_id, state, created_at AS at, tracking_number, traceparent",
    )
    .bind(request.return_id)
    .bind(shipped.id)
    .bind(Json(lines))
    .bind(&request.reason)
    .bind(&request.traceparent)
    .bind(interval(first_look))
    .bind(request.order_id)
    .fetch_all(&mut *connection)
    .await?;
    announce::<ReturnState>(connection, &announced).await?;
    Ok(Ok(()))
}

fn check(
    shipped: &Shipped,
    returned: &[Line],
    request: &ReturnRequested,
    asked: &[Line],
) -> anyhow::Result<()> {
    let state = ShipmentState::parse(&shipped.state)
        .with_context(|| format!("shipment {} has the state {:?}", shipped.id, shipped.state))?;
    returns::check(state, &shipped.lines, returned, asked)
        .with_context(|| format!("return {} of order {}", request.return_id, request.order_id))
}

impl Kept for ReturnState {
    const WAITING: Self = Self::Announced;
    const MOVING: Self = Self::InTransit;

    const DUE: &str = "
        SELECT id, state = 'in_transit' FROM returns
        WHERE next_look_at <= now() ORDER BY next_look_at LIMIT $1 FOR UPDATE SKIP LOCKED";
    const STEP: &str = "
        UPDATE returns r
        SET state = t.state,
            tracking_number = coalesce(r.tracking_number, t.tracking_number),
            collected_at = coalesce(r.collected_at, now()),
            received_at = CASE t.state WHEN 'received' THEN now() END,
            next_look_at = CASE t.state WHEN 'in_transit' THEN now() + t.look_again END
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::interval[])
             AS t (id, state, tracking_number, look_again), shipments s
        WHERE r.id = t.id AND s.id = r.shipment_id
          AND (r.state, t.state) IN (('announced', 'in_transit'), ('in_transit', 'received'))
        RETURNING r.id, s.order_id, r.state, now() AS at, r.tracking_number, r.traceparent";
    const LOOK_AGAIN: &str = "UPDATE returns SET next_look_at = now() + $2 WHERE id = ANY($1)";

    fn event(m: &Moved) -> Option<Event> {
        let state = Self::parse(&m.state)?;
        Some(events::return_updated(m.id, m.order_id, state, m.at, m.tracking_number.as_deref()))
    }
}
