//! Translates the engine's terms into this service's: reads what Redis keeps of an order as the domain
//! does.

use rocketmart_stock::{ItemCounters, PricedLine, ReleaseReason, Reservation, ReservationState};

use crate::domain::close_out::Held;
use crate::domain::ledger::Counters;
use crate::domain::order::Line;
use crate::domain::state::OrderState;

/// The state of the order behind a reservation, as far as Redis knows it.
pub(crate) fn order_state(state: ReservationState) -> OrderState {
    match state {
        ReservationState::Reserved | ReservationState::PaymentSubmitted => OrderState::Reserved,
        ReservationState::Confirmed => OrderState::Paid,
        ReservationState::Released(ReleaseReason::Expired) => OrderState::Expired,
        ReservationState::Released(ReleaseReason::Cancelled) => OrderState::Cancelled,
        ReservationState::Released(ReleaseReason::PaymentFailed) => OrderState::PaymentFailed,
    }
}

pub(crate) fn lines(lines: Vec<PricedLine>) -> Vec<Line> {
    lines
        .into_iter()
        .map(|line| Line { sku: line.sku, quantity: line.quantity.into(), unit_price: line.unit_price })
        .collect()
}

pub(crate) fn held(reservation: Reservation) -> Held {
    Held {
        order_id: reservation.order.0,
        buyer_id: reservation.buyer.0,
        state: order_state(reservation.state),
        lines: lines(reservation.lines),
        amount: reservation.amount,
    }
}

pub(crate) fn counters(item: &ItemCounters) -> Counters {
    Counters {
        preloaded: item.preloaded.into(),
        remaining: item.remaining.into(),
        reserved: item.reserved.into(),
        sold: item.sold.into(),
    }
}
