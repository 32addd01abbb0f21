//! The events delivery reads and writes (docs/contracts.md, "Events").

use rocketmart_contracts::component::Component;
use rocketmart_contracts::event::{
    CancelRefused, CancelRequested, OfOrder, OrderPaid, OrderReleased, ReturnRequested, ReturnUpdated,
    ShipmentUpdated,
};
pub(crate) use rocketmart_contracts::topic::DELIVERIES;
use rocketmart_kit::event::Event;
use rocketmart_kit::event_schema::{Published, Read};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::returns::ReturnState;
use crate::domain::shipment::ShipmentState;

const SOURCE: &str = "/rocketmart/delivery-worker";

/// What delivery-worker writes, by type.
pub fn published() -> Vec<Published> {
    vec![
        Published::of::<ShipmentUpdated>(),
        Published::of::<CancelRefused>(),
        Published::of::<ReturnUpdated>(),
    ]
}

/// What delivery-worker reads, by type.
pub fn read() -> Vec<Read> {
    let worker = Component::DeliveryWorker;
    vec![
        Read::of::<OrderPaid>(worker),
        Read::part_of::<OrderReleased, OfOrder>(worker),
        Read::of::<CancelRequested>(worker),
        Read::of::<ReturnRequested>(worker),
    ]
}

pub(crate) fn shipment_updated(
    shipment_id: Uuid,
    order_id: Uuid,
    state: ShipmentState,
    at: OffsetDateTime,
    tracking_number: Option<&str>,
) -> Event {
    let tracking_number = tracking_number.map(str::to_owned);
    let data = ShipmentUpdated { shipment_id, order_id, state, at_ms: milliseconds(at), tracking_number };
    Event::of(SOURCE, order_id, &data)
}

pub(crate) fn cancel_refused(shipment_id: Uuid, order_id: Uuid, state: ShipmentState) -> Event {
    Event::of(SOURCE, order_id, &CancelRefused { shipment_id, order_id, state })
}

pub(crate) fn return_updated(
    return_id: Uuid,
    order_id: Uuid,
    state: ReturnState,
    at: OffsetDateTime,
    tracking_number: Option<&str>,
) -> Event {
    let tracking_number = tracking_number.map(str::to_owned);
    let data = ReturnUpdated { return_id, order_id, state, at_ms: milliseconds(at), tracking_number };
    Event::of(SOURCE, order_id, &data)
}

fn milliseconds(at: OffsetDateTime) -> i64 {
    at.unix_timestamp() * 1_000 + i64::from(at.millisecond())
}
