//! The company that carries the parcels, to buyers and back.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::domain::journey::Journey;
use crate::domain::returns::ReturnState;
use crate::domain::shipment::ShipmentState;

/// A parcel that we ask the carrier about.
#[derive(Clone, Copy, Debug)]
pub struct Parcel<S> {
    /// The id of the shipment or the return.
    pub id: Uuid,
    pub state: S,
}

/// What the carrier says about a parcel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracking<S> {
    pub id: Uuid,
    /// Where it is now; unchanged if nothing happened.
    pub state: S,
    pub tracking_number: String,
    /// When it makes sense to ask again.
    pub look_again: Duration,
}

/// Answers come in any order. If a parcel is missing, the carrier does not know it for now.
#[async_trait]
pub trait Carrier: Send + Sync {
    /// How long to wait before asking about a new parcel.
    fn first_look(&self) -> Duration;

    /// Where the given shipments are.
    async fn track(&self, parcels: &[Parcel<ShipmentState>]) -> anyhow::Result<Vec<Tracking<ShipmentState>>>;

    /// Where the given returns are.
    async fn track_returns(
        &self,
        parcels: &[Parcel<ReturnState>],
    ) -> anyhow::Result<Vec<Tracking<ReturnState>>>;
}

/// A carrier that needs the same time for every step, and has finished the step whenever it is asked.
#[derive(Clone, Copy, Debug)]
pub struct SimulatedCarrier {
    step: Duration,
}

impl SimulatedCarrier {
    pub fn new(step: Duration) -> Self {
        Self { step }
    }

    fn move_on<S: Journey>(&self, parcels: &[Parcel<S>], prefix: &str) -> Vec<Tracking<S>> {
        let moved = parcels.iter().map(|parcel| Tracking {
            id: parcel.id,
            state: parcel.state.next().unwrap_or(parcel.state),
            tracking_number: tracking_number(prefix, parcel.id),
            look_again: self.step,
        });
        moved.collect()
    }
}

#[async_trait]
impl Carrier for SimulatedCarrier {
    fn first_look(&self) -> Duration {
        self.step
    }

    async fn track(&self, parcels: &[Parcel<ShipmentState>]) -> anyhow::Result<Vec<Tracking<ShipmentState>>> {
        Ok(self.move_on(parcels, "RM"))
    }

    async fn track_returns(
        &self,
        parcels: &[Parcel<ReturnState>],
    ) -> anyhow::Result<Vec<Tracking<ReturnState>>> {
        Ok(self.move_on(parcels, "RR"))
    }
}

/// The prefix and 16 hexadecimal digits of the id's second half. The first half holds little more than the
/// time when the id was made, and numbers must not collide.
fn tracking_number(prefix: &str, id: Uuid) -> String {
    format!("{prefix}{:016X}", id.as_u64_pair().1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_parcel_keeps_its_number_on_every_step() {
        let carrier = SimulatedCarrier::new(Duration::from_secs(5));
        let mut parcel = Parcel { id: Uuid::from_u128(7), state: ShipmentState::Preparing };
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
