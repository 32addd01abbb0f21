//! The company that carries the parcels.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::domain::shipment::ShipmentState;

/// A shipment the carrier is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Parcel {
    pub shipment_id: Uuid,
    pub state: ShipmentState,
}

/// What the carrier says about a parcel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracking {
    pub shipment_id: Uuid,
    /// Where it is now; the same as before when nothing happened.
    pub state: ShipmentState,
    pub tracking_number: String,
    /// When asking again makes sense.
    pub look_again: Duration,
}

#[async_trait]
pub trait Carrier: Send + Sync {
    /// When a new shipment is worth asking about.
    fn first_look(&self) -> Duration;

    /// Where the given parcels are, in any order. A parcel left out is unknown to the carrier for now.
    async fn track(&self, parcels: &[Parcel]) -> anyhow::Result<Vec<Tracking>>;
}

/// A carrier that takes the same time for every step, and has taken it whenever it is asked.
#[derive(Clone, Copy, Debug)]
pub struct SimulatedCarrier {
    step: Duration,
}

impl SimulatedCarrier {
    pub fn new(step: Duration) -> Self {
        Self { step }
    }
}

#[async_trait]
impl Carrier for SimulatedCarrier {
    fn first_look(&self) -> Duration {
        self.step
    }

    async fn track(&self, parcels: &[Parcel]) -> anyhow::Result<Vec<Tracking>> {
        let moved = parcels.iter().map(|parcel| Tracking {
            shipment_id: parcel.shipment_id,
            state: parcel.state.next().unwrap_or(parcel.state),
            tracking_number: tracking_number(parcel.shipment_id),
            look_again: self.step,
        });
        Ok(moved.collect())
    }
}

/// `RM` and 16 hexadecimal digits of the shipment's id.
fn tracking_number(shipment_id: Uuid) -> String {
    format!("RM{:016X}", shipment_id.as_u64_pair().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_parcel_keeps_its_number_on_every_step() {
        let carrier = SimulatedCarrier::new(Duration::from_secs(5));
        let mut parcel = Parcel { shipment_id: Uuid::from_u128(7 << 64), state: ShipmentState::Preparing };
        let mut seen = Vec::new();
        for _ in 0..2 {
            let tracking = carrier.track(&[parcel]).await.unwrap().remove(0);
            parcel.state = tracking.state;
            seen.push((tracking.state, tracking.tracking_number));
        }
        let number = "RM0000000000000007".to_owned();
        assert_eq!(seen, [(ShipmentState::Shipped, number.clone()), (ShipmentState::Delivered, number)]);
    }
}
