//! The events delivery reads and writes (docs/contracts.md, "Events").

use rocketmart_contracts::component::Component;
pub(crate) use rocketmart_contracts::topic::DELIVERIES;
use rocketmart_kit::event::Event;
use rocketmart_kit::event_schema::{Published, Read};
use rocketmart_kit::trace::TraceContext;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::returns::ReturnState;
use crate::domain::shipment::{Line, ShipmentState};

const SOURCE: &str = "/rocketmart/delivery-worker";

pub(crate) const ORDER_PAID: &str = "rocketmart.order.paid.v1";
pub(crate) const ORDER_RELEASED: &str = "rocketmart.order.released.v1";
pub(crate) const CANCEL_REQUESTED: &str = "rocketmart.order.cancel_requested.v1";
pub(crate) const RETURN_REQUESTED: &str = "rocketmart.order.return_requested.v1";

const SHIPMENT_UPDATED: &str = "rocketmart.shipment.updated.v1";
const CANCEL_REFUSED: &str = "rocketmart.shipment.cancel_refused.v1";
const RETURN_UPDATED: &str = "rocketmart.return.updated.v1";

/// What delivery-worker writes, by type.
pub fn published() -> Vec<Published> {
    let (key, worker) = ("order id", Component::DeliveryWorker.as_str());
    vec![
        Published::of::<ShipmentUpdated<'_>>(SHIPMENT_UPDATED, DELIVERIES, key, worker),
        Published::of::<CancelRefused>(CANCEL_REFUSED, DELIVERIES, key, worker),
        Published::of::<ReturnUpdated<'_>>(RETURN_UPDATED, DELIVERIES, key, worker),
    ]
}

/// What delivery-worker reads, by type.
pub fn read() -> Vec<Read> {
    let worker = Component::DeliveryWorker.as_str();
    vec![
        Read::of::<OrderPaid>(ORDER_PAID, worker),
        Read::of::<OrderReleased>(ORDER_RELEASED, worker),
        Read::of::<CancelRequested>(CANCEL_REQUESTED, worker),
        Read::of::<ReturnRequested>(RETURN_REQUESTED, worker),
    ]
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct OrderPaid {
    pub(crate) order_id: Uuid,
    pub(crate) buyer_id: Uuid,
    pub(crate) lines: Vec<Line>,
    #[serde(default)]
    pub(crate) delivery_address_id: Option<Uuid>,
    /// From the event, not its data.
    #[serde(skip)]
    pub(crate) traceparent: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct OrderReleased {
    pub(crate) order_id: Uuid,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct CancelRequested {
    pub(crate) order_id: Uuid,
    pub(crate) buyer_id: Uuid,
    /// From the event, not its data.
    #[serde(skip)]
    pub(crate) traceparent: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ReturnRequested {
    pub(crate) return_id: Uuid,
    pub(crate) order_id: Uuid,
    pub(crate) buyer_id: Uuid,
    pub(crate) lines: Vec<Line>,
    pub(crate) reason: String,
    /// From the event, not its data.
    #[serde(skip)]
    pub(crate) traceparent: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct ShipmentUpdated<'a> {
    shipment_id: Uuid,
    order_id: Uuid,
    state: ShipmentState,
    at_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracking_number: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
struct CancelRefused {
    shipment_id: Uuid,
    order_id: Uuid,
    state: ShipmentState,
}

#[derive(Serialize, ToSchema)]
struct ReturnUpdated<'a> {
    return_id: Uuid,
    order_id: Uuid,
    state: ReturnState,
    at_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracking_number: Option<&'a str>,
}

pub(crate) fn shipment_updated(
    shipment_id: Uuid,
    order_id: Uuid,
    state: ShipmentState,
    at: OffsetDateTime,
    tracking_number: Option<&str>,
) -> Event {
    let data = ShipmentUpdated { shipment_id, order_id, state, at_ms: milliseconds(at), tracking_number };
    Event::new(SOURCE, SHIPMENT_UPDATED, order_id, &data)
}

pub(crate) fn cancel_refused(shipment_id: Uuid, order_id: Uuid, state: ShipmentState) -> Event {
    let data = CancelRefused { shipment_id, order_id, state };
    Event::new(SOURCE, CANCEL_REFUSED, order_id, &data)
}

pub(crate) fn return_updated(
    return_id: Uuid,
    order_id: Uuid,
    state: ReturnState,
    at: OffsetDateTime,
    tracking_number: Option<&str>,
) -> Event {
    let data = ReturnUpdated { return_id, order_id, state, at_ms: milliseconds(at), tracking_number };
    Event::new(SOURCE, RETURN_UPDATED, order_id, &data)
}

/// The event as a part of the trace that led to it, however long ago.
pub(crate) fn in_trace(mut event: Event, parent: Option<&str>) -> Event {
    let parent = parent.and_then(|parent| parent.parse::<TraceContext>().ok());
    event.traceparent = parent.map(|parent| parent.child().to_string());
    event
}

fn milliseconds(at: OffsetDateTime) -> i64 {
    at.unix_timestamp() * 1_000 + i64::from(at.millisecond())
}
