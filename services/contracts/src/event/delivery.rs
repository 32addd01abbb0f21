//! Where parcels and returns are, as delivery-worker tells it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{ORDER_ID, Payload};
use crate::component::Component;
use crate::topic;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShipmentState {
    Preparing,
    Shipped,
    Delivered,
    /// It will not be handed to the carrier: a cancellation came first.
    Cancelled,
}

impl ShipmentState {
    pub const ALL: [Self; 4] = [Self::Preparing, Self::Shipped, Self::Delivered, Self::Cancelled];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Shipped => "shipped",
            Self::Delivered => "delivered",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// A shipment was made, or took a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShipmentUpdated {
    pub shipment_id: Uuid,
    pub order_id: Uuid,
    pub state: ShipmentState,
    pub at_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking_number: Option<String>,
}

impl Payload for ShipmentUpdated {
    const TYPE: &'static str = "rocketmart.shipment.updated.v1";
    const TOPIC: &'static str = topic::DELIVERIES;
    const KEY: &'static str = ORDER_ID;
    const PRODUCER: Component = Component::DeliveryWorker;
}

/// A cancellation came too late: the parcel is where `state` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelRefused {
    pub shipment_id: Uuid,
    pub order_id: Uuid,
    pub state: ShipmentState,
}

impl Payload for CancelRefused {
    const TYPE: &'static str = "rocketmart.shipment.cancel_refused.v1";
    const TOPIC: &'static str = topic::DELIVERIES;
    const KEY: &'static str = ORDER_ID;
    const PRODUCER: Component = Component::DeliveryWorker;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReturnState {
    /// The buyer keeps the goods ready for the carrier.
    Announced,
    InTransit,
    /// The goods are back in the warehouse.
    Received,
}

impl ReturnState {
    pub const ALL: [Self; 3] = [Self::Announced, Self::InTransit, Self::Received];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::InTransit => "in_transit",
            Self::Received => "received",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// A return was announced to the carrier, or took a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReturnUpdated {
    pub return_id: Uuid,
    pub order_id: Uuid,
    pub state: ReturnState,
    pub at_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking_number: Option<String>,
}

impl Payload for ReturnUpdated {
    const TYPE: &'static str = "rocketmart.return.updated.v1";
    const TOPIC: &'static str = topic::DELIVERIES;
    const KEY: &'static str = ORDER_ID;
    const PRODUCER: Component = Component::DeliveryWorker;
}
