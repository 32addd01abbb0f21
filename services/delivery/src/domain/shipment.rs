//! The life of a shipment: `preparing → shipped → delivered`, or `cancelled` while still preparing.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::journey::Journey;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShipmentState {
    Preparing,
    Shipped,
    Delivered,
    Cancelled,
}

impl ShipmentState {
    pub const ALL: [Self; 4] = [Self::Preparing, Self::Shipped, Self::Delivered, Self::Cancelled];

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

impl Journey for ShipmentState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Shipped => "shipped",
            Self::Delivered => "delivered",
            Self::Cancelled => "cancelled",
        }
    }

    fn next(self) -> Option<Self> {
        match self {
            Self::Preparing => Some(Self::Shipped),
            Self::Shipped => Some(Self::Delivered),
            Self::Delivered | Self::Cancelled => None,
        }
    }
}

/// What is in the parcel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Line {
    pub sku: String,
    #[schema(minimum = 1)]
    pub quantity: u32,
}

/// A shipment's id follows from its order's id.
pub fn shipment_id(order_id: Uuid) -> Uuid {
    const NAMESPACE: Uuid = Uuid::from_u128(0x51c7_0d9e_2b6a_4f38_9a41_c0e6_7d25_83f4);
    Uuid::new_v5(&NAMESPACE, order_id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shipment_takes_two_steps_and_ends() {
        let mut states = vec![ShipmentState::Preparing];
        while let Some(next) = states.last().and_then(|state| state.next()) {
            states.push(next);
        }
        assert_eq!(states, [ShipmentState::Preparing, ShipmentState::Shipped, ShipmentState::Delivered]);
    }

    #[test]
    fn state_names_read_back() {
        for state in ShipmentState::ALL {
            assert_eq!(ShipmentState::parse(state.as_str()), Some(state));
        }
    }
}
