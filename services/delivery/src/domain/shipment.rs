//! The life of a shipment: `preparing → shipped → delivered`, or `cancelled` while still preparing.

pub use rocketmart_contracts::event::ShipmentState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::journey::Journey;

impl Journey for ShipmentState {
    fn as_str(self) -> &'static str {
        ShipmentState::as_str(self)
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
}
