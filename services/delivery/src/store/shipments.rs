//! Shipments: from paid orders step by step to the buyer, or cancelled in time.

use std::time::Duration;

use rocketmart_contracts::event::{CancelRequested, OrderPaid};
use rocketmart_kit::event::{Event, Inbound};
use rocketmart_kit::outbox;
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::parcels::{Kept, Moved, announce, interval};
use crate::domain::shipment::{Line, ShipmentState, shipment_id};
use crate::events;

/// A paid order, and what its parcel is to hold.
pub(crate) struct ToShip {
    pub(crate) order: Inbound<OrderPaid>,
    pub(crate) lines: Vec<Line>,
}

/// Inserts one shipment per order, with a copy of the chosen address or of the buyer's default. An order that
/// already has a shipment is left alone. The shipment is first due after `first_look`.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    paid: &[ToShip],
    first_look: Duration,
) -> sqlx::Result<()> {
    if paid.is_empty() {
        return Ok(());
    }
    let orders = || paid.iter().map(|paid| &paid.order);
    let ids: Vec<Uuid> = orders().map(|o| shipment_id(o.order_id)).collect();
    let order_ids: Vec<Uuid> = orders().map(|o| o.order_id).collect();
    let buyers: Vec<Uuid> = orders().map(|o| o.buyer_id).collect();
    let lines: Vec<Json<&[Line]>> = paid.iter().map(|paid| Json(paid.lines.as_slice())).collect();
    let addresses: Vec<Option<Uuid>> = orders().map(|o| o.delivery_address_id).collect();
    let traces: Vec<Option<&str>> = orders().map(|o| o.traceparent.as_deref()).collect();
    // Two look-ups instead of one with OR, which would use no index and read all addresses.
    let inserted: Vec<Moved> = sqlx::query_as(
        "INSERT INTO shipments (id, order_id, buyer_id, lines, traceparent, address, state, next_look_at)
         SELECT o.id, o.order_id, o.buyer_id, o.lines, o.traceparent, a.copy, 'preparing', now() + $7
         FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::jsonb[], $5::uuid[], $6::text[])
              AS o (id, order_id, buyer_id, lines, address_id, traceparent)
         LEFT JOIN LATERAL (
             SELECT jsonb_build_object(
                        'recipient', recipient, 'line1', line1, 'line2', line2, 'city', nullif(city, ''),
                        'region', region, 'postal_code', nullif(postal_code, ''), 'country', country, 'phone', phone) AS copy
             FROM (SELECT * FROM addresses WHERE id = o.address_id AND member_id = o.buyer_id
                   UNION ALL
                   SELECT * FROM addresses WHERE o.address_id IS NULL AND member_id = o.buyer_id AND is_default)
                  AS chosen) a ON true
         ON CONFLICT (order_id) DO NOTHING
         RETURNING id, order_id, state, created_at AS at, tracking_number, traceparent",
    )
    .bind(ids)
    .bind(order_ids)
    .bind(buyers)
    .bind(lines)
    .bind(addresses)
    .bind(traces)
    .bind(interval(first_look))
    .fetch_all(&mut *connection)
    .await?;
    announce::<ShipmentState>(connection, &inserted).await
}

/// Calls off the shipment of a released order, if it has not left yet. The order already knows, so there is
/// no event.
pub(crate) async fn call_off(connection: &mut PgConnection, orders: &[Uuid]) -> sqlx::Result<u64> {
    if orders.is_empty() {
        return Ok(0);
    }
    let cancelled = sqlx::query(
        "UPDATE shipments SET state = 'cancelled', cancelled_at = now(), next_look_at = NULL
         WHERE order_id = ANY($1) AND state = 'preparing'",
    )
    .bind(orders)
    .execute(connection)
    .await?;
    Ok(cancelled.rows_affected())
}

/// A request to cancel that was just answered.
#[derive(sqlx::FromRow)]
struct Answered {
    id: Uuid,
    order_id: Uuid,
    state: String,
    cancelled_at: Option<OffsetDateTime>,
    traceparent: Option<String>,
}

impl Answered {
    fn event(&self) -> Option<Event> {
        Some(match self.cancelled_at {
            Some(at) => events::shipment_updated(self.id, self.order_id, ShipmentState::Cancelled, at, None),
            None => events::cancel_refused(self.id, self.order_id, ShipmentState::parse(&self.state)?),
        })
    }
}

/// Cancels what has not left yet and refuses the rest. Each shipment is answered for only once, however often
/// somebody asks. Returns how many were cancelled.
///
/// The decision is one statement on the shipment's row, which the carrier's steps lock too. So whichever
/// comes second sees what the first did.
pub(crate) async fn cancel(
    connection: &mut PgConnection,
    requests: &[Inbound<CancelRequested>],
) -> sqlx::Result<u64> {
    if requests.is_empty() {
        return Ok(0);
    }
    let orders: Vec<Uuid> = requests.iter().map(|r| r.order_id).collect();
    keep_unknown_from_shipping(connection, requests, &orders).await?;
    let answered: Vec<Answered> = sqlx::query_as(
        "UPDATE shipments s
         SET state = CASE s.state WHEN 'preparing' THEN 'cancelled' ELSE s.state END,
             cancelled_at = CASE s.state WHEN 'preparing' THEN now() ELSE s.cancelled_at END,
             next_look_at = CASE s.state WHEN 'preparing' THEN NULL ELSE s.next_look_at END,
             cancel_answered_at = now()
         FROM (SELECT DISTINCT ON (order_id) order_id, traceparent
               FROM unnest($1::uuid[], $2::text[]) AS r (order_id, traceparent)) AS r
         WHERE s.order_id = r.order_id AND s.cancel_answered_at IS NULL
         RETURNING s.id, s.order_id, s.state, s.cancelled_at, r.traceparent",
    )
    .bind(&orders)
    .bind(requests.iter().map(|r| r.traceparent.as_deref()).collect::<Vec<_>>())
    .fetch_all(&mut *connection)
    .await?;
    let events: Vec<Event> =
        answered.iter().filter_map(|a| Some(a.event()?.in_trace(a.traceparent.as_deref()))).collect();
    outbox::put(connection, events::DELIVERIES, &events).await?;
    Ok(answered.iter().filter(|a| a.cancelled_at.is_some()).count() as u64)
}

/// Sometimes we never hear of an order's payment, for instance because its event is parked. Such an order
/// ships nothing: not now, and not if the event turns up later.
async fn keep_unknown_from_shipping(
    connection: &mut PgConnection,
    requests: &[Inbound<CancelRequested>],
    orders: &[Uuid],
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO shipments (id, order_id, buyer_id, lines, state, cancelled_at)
         SELECT id, order_id, buyer_id, '[]', 'cancelled', now()
         FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS r (id, order_id, buyer_id)
         ON CONFLICT (order_id) DO NOTHING",
    )
    .bind(orders.iter().map(|order| shipment_id(*order)).collect::<Vec<_>>())
    .bind(orders)
    .bind(requests.iter().map(|r| r.buyer_id).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

impl Kept for ShipmentState {
    const WAITING: Self = Self::Preparing;
    const MOVING: Self = Self::Shipped;

    const DUE: &str = "
        SELECT id, state = 'shipped' FROM shipments
        WHERE next_look_at <= now() ORDER BY next_look_at LIMIT $1 FOR UPDATE SKIP LOCKED";
    const STEP: &str = "
        UPDATE shipments s
        SET state = t.state,
            tracking_number = coalesce(s.tracking_number, t.tracking_number),
            shipped_at = coalesce(s.shipped_at, now()),
            delivered_at = CASE t.state WHEN 'delivered' THEN now() END,
            next_look_at = CASE t.state WHEN 'shipped' THEN now() + t.look_again END
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::interval[])
             AS t (id, state, tracking_number, look_again)
        WHERE s.id = t.id
          AND (s.state, t.state) IN (('preparing', 'shipped'), ('shipped', 'delivered'))
        RETURNING s.id, s.order_id, s.state, now() AS at, s.tracking_number, s.traceparent";
    const LOOK_AGAIN: &str = "UPDATE shipments SET next_look_at = now() + $2 WHERE id = ANY($1)";

    fn event(m: &Moved) -> Option<Event> {
        let state = Self::parse(&m.state)?;
        Some(events::shipment_updated(m.id, m.order_id, state, m.at, m.tracking_number.as_deref()))
    }
}
