//! What the order service tells the others of an order, and asks of them.

use rocketmart_contracts::event::{
    CancelRequested, OrderPaid, OrderReleased, Payload as _, PaymentRequested, RefundRequested,
    ReturnRequested,
};
use serde::Serialize;
use uuid::Uuid;

/// One event of the topic `orders`; its JSON is that of the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum OrderEvent {
    PaymentRequested(PaymentRequested),
    Paid(OrderPaid),
    Released(OrderReleased),
    RefundRequested(RefundRequested),
    CancelRequested(CancelRequested),
    ReturnRequested(ReturnRequested),
}

impl OrderEvent {
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::PaymentRequested(_) => PaymentRequested::TYPE,
            Self::Paid(_) => OrderPaid::TYPE,
            Self::Released(_) => OrderReleased::TYPE,
            Self::RefundRequested(_) => RefundRequested::TYPE,
            Self::CancelRequested(_) => CancelRequested::TYPE,
            Self::ReturnRequested(_) => ReturnRequested::TYPE,
        }
    }

    pub fn order_id(&self) -> Uuid {
        match self {
            Self::PaymentRequested(data) => data.order_id,
            Self::Paid(data) => data.order_id,
            Self::Released(data) => data.order_id,
            Self::RefundRequested(data) => data.order_id,
            Self::CancelRequested(data) => data.order_id,
            Self::ReturnRequested(data) => data.order_id,
        }
    }
}
