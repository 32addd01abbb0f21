//! What a buyer sees of an order, whether it comes from Redis a moment after the purchase or from
//! PostgreSQL later.

use rocketmart_stock::{ReleaseReason, Reservation, ReservationState};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::cancellation::Cancellation;
use crate::domain::order::{Line, Order, PaymentState, Units};
use crate::domain::returns::{Return, ReturnState};
use crate::domain::standing::is_standing;
use crate::domain::state::OrderState;
use crate::reservations;
use crate::store::clock::at;

/// An order.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Order)]
pub(crate) struct OrderView {
    pub id: Uuid,
    /// Id of the flash sale; missing in an order of ordinary stock.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sale: Option<Uuid>,
    pub state: OrderState,
    pub lines: Vec<Line>,
    /// Minor units: the sum over the lines.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    #[serde(with = "time::serde::rfc3339")]
    pub reserved_at: OffsetDateTime,
    /// An order that is not paid by then is released.
    #[serde(with = "time::serde::rfc3339")]
    pub pay_by: OffsetDateTime,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payment: Option<PaymentView>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub delivery_address_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shipment: Option<ShipmentView>,
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none", default)]
    pub delivered_at: Option<OffsetDateTime>,
    /// The buyer's wish to cancel the order once it was paid.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cancellation: Option<CancellationView>,
    /// What the buyer sent back, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub returns: Vec<ReturnView>,
}

/// Where the money of an order stands.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = OrderPayment)]
pub(crate) struct PaymentView {
    pub state: PaymentProgress,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payment_method_id: Option<Uuid>,
    /// Why it failed or was given back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// What went back of the money of a paid order, minor units.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub refunded: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PaymentProgress {
    /// The buyer has said how to pay, and has yet to confirm it.
    AwaitingConfirmation,
    Requested,
    Succeeded,
    Failed,
    RefundRequested,
    Refunded,
    RefundFailed,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(amount: &i64) -> bool {
    *amount == 0
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = OrderCancellation)]
pub(crate) struct CancellationView {
    pub state: CancellationState,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub requested_at: OffsetDateTime,
    /// Where the parcel was when it was refused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parcel: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CancellationState {
    /// Delivery has yet to answer.
    Pending,
    Granted,
    /// The parcel had left already; the order goes on.
    Refused,
}

/// Something sent back.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Return)]
pub(crate) struct ReturnView {
    pub id: Uuid,
    pub state: ReturnState,
    pub lines: Vec<Units>,
    /// What is given back for these units, minor units.
    pub amount: i64,
    pub reason: String,
    #[serde(with = "time::serde::rfc3339")]
    pub requested_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tracking_number: Option<String>,
}

/// Where the parcel of an order is; the order's state says how far it has come.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = OrderShipment)]
pub(crate) struct ShipmentView {
    pub id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tracking_number: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

impl PaymentProgress {
    fn of(state: PaymentState) -> Option<Self> {
        Some(match state {
            PaymentState::None => return None,
            PaymentState::Requested => Self::Requested,
            PaymentState::Succeeded => Self::Succeeded,
            PaymentState::Failed => Self::Failed,
            PaymentState::RefundRequested => Self::RefundRequested,
            PaymentState::Refunded => Self::Refunded,
            PaymentState::RefundFailed => Self::RefundFailed,
        })
    }
}

impl From<Return> for ReturnView {
    fn from(returned: Return) -> Self {
        Self {
            id: returned.id,
            state: returned.state,
            lines: returned.lines,
            amount: returned.amount,
            reason: returned.reason,
            requested_at: at(returned.requested_at_ms),
            updated_at: at(returned.updated_at_ms),
            tracking_number: returned.tracking_number,
        }
    }
}

impl CancellationView {
    fn of(asked: Cancellation, order: OrderState) -> Self {
        let state = match (&asked.refused, order) {
            (Some(_), _) => CancellationState::Refused,
            (None, OrderState::Cancelled) => CancellationState::Granted,
            (None, _) => CancellationState::Pending,
        };
        let requested_at = at(asked.requested_at_ms);
        Self { state, reason: asked.reason, requested_at, parcel: asked.refused }
    }
}

fn flash_sale(sale: Uuid, currency: &str) -> Option<Uuid> {
    (!is_standing(sale, currency)).then_some(sale)
}

impl From<Order> for OrderView {
    fn from(order: Order) -> Self {
        let payment = PaymentProgress::of(order.payment.state).map(|state| PaymentView {
            state,
            id: order.payment.id,
            payment_method_id: order.payment.method_id,
            reason: order.payment.reason,
            refunded: order.refunds.done,
        });
        Self {
            id: order.id,
            sale: flash_sale(order.sale_id, &order.currency),
            state: order.state,
            lines: order.lines,
            amount: order.amount,
            currency: order.currency,
            reserved_at: at(order.reserved_at_ms),
            pay_by: at(order.pay_by_ms),
            payment,
            delivery_address_id: order.delivery_address_id,
            shipment: order.shipment.map(|shipment| ShipmentView {
                id: shipment.id,
                tracking_number: shipment.tracking_number,
                updated_at: at(shipment.updated_at_ms),
            }),
            delivered_at: order.delivered_at_ms.map(at),
            cancellation: order.cancellation.map(|asked| CancellationView::of(asked, order.state)),
            returns: order.returns.into_iter().map(ReturnView::from).collect(),
        }
    }
}

impl From<Reservation> for OrderView {
    fn from(reservation: Reservation) -> Self {
        let progress = match reservation.state {
            ReservationState::Reserved if reservation.payment_prepared => {
                Some(PaymentProgress::AwaitingConfirmation)
            }
            ReservationState::Reserved if reservation.declined_payments > 0 => Some(PaymentProgress::Failed),
            ReservationState::PaymentSubmitted => Some(PaymentProgress::Requested),
            ReservationState::Confirmed => Some(PaymentProgress::Succeeded),
            ReservationState::Released(ReleaseReason::PaymentFailed) => Some(PaymentProgress::Failed),
            ReservationState::Reserved | ReservationState::Released(_) => None,
        };
        let payment = progress.map(|state| PaymentView {
            state,
            id: None,
            payment_method_id: reservation.payment_method_id,
            reason: None,
            refunded: 0,
        });
        Self {
            id: reservation.order.0,
            sale: flash_sale(reservation.sale.0, &reservation.currency),
            state: reservations::order_state(reservation.state),
            lines: reservations::lines(reservation.lines),
            amount: reservation.amount,
            currency: reservation.currency,
            reserved_at: at(reservation.reserved_at_ms),
            pay_by: at(reservation.pay_by_ms),
            payment,
            delivery_address_id: reservation.delivery_address_id,
            shipment: None,
            delivered_at: None,
            cancellation: None,
            returns: Vec::new(),
        }
    }
}
