//! The life of a return: `announced → in_transit → received`. Only delivered goods can come back, and only
//! once.

use std::collections::HashMap;

pub use rocketmart_contracts::event::ReturnState;
use thiserror::Error;

use super::journey::Journey;
use super::shipment::{Line, ShipmentState};

impl Journey for ReturnState {
    fn as_str(self) -> &'static str {
        ReturnState::as_str(self)
    }

    fn next(self) -> Option<Self> {
        match self {
            Self::Announced => Some(Self::InTransit),
            Self::InTransit => Some(Self::Received),
            Self::Received => None,
        }
    }
}

/// Why goods cannot come back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReturnError {
    #[error("the shipment is {}, only what was delivered comes back", .0.as_str())]
    NotDelivered(ShipmentState),
    #[error("{asked} of {sku:?} cannot come back: {left} were delivered and not returned before")]
    MoreThanDelivered { sku: String, asked: u64, left: u64 },
}

/// Whether `asked` can come back from a shipment of `shipped` lines, of which `returned` came back before.
///
/// The order counts too. This is the last guard against returning a unit to stock twice.
pub fn check(
    state: ShipmentState,
    shipped: &[Line],
    returned: &[Line],
    asked: &[Line],
) -> Result<(), ReturnError> {
    if state != ShipmentState::Delivered {
        return Err(ReturnError::NotDelivered(state));
    }
    let (shipped, returned) = (by_sku(shipped), by_sku(returned));
    for (sku, asked) in by_sku(asked) {
        let delivered = shipped.get(sku).copied().unwrap_or_default();
        let left = delivered.saturating_sub(returned.get(sku).copied().unwrap_or_default());
        if asked > left {
            return Err(ReturnError::MoreThanDelivered { sku: sku.to_owned(), asked, left });
        }
    }
    Ok(())
}

fn by_sku(lines: &[Line]) -> HashMap<&str, u64> {
    let mut quantities = HashMap::new();
    for line in lines {
        *quantities.entry(line.sku.as_str()).or_default() += u64::from(line.quantity);
    }
    quantities
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sku: &str, quantity: u32) -> Line {
        Line { sku: sku.into(), quantity }
    }

    #[test]
    fn a_return_takes_two_steps_and_ends_and_its_states_read_back() {
        let mut states = vec![ReturnState::Announced];
        while let Some(next) = states.last().and_then(|state| state.next()) {
            states.push(next);
        }
        assert_eq!(states, ReturnState::ALL);
        assert!(states.iter().all(|state| ReturnState::parse(state.as_str()) == Some(*state)));
    }

    #[test]
    fn what_was_delivered_comes_back_whole_or_in_parts_but_never_twice() {
        let shipped = [line("A", 2), line("B", 1)];
        let delivered =
            |returned: &[Line], asked: &[Line]| check(ShipmentState::Delivered, &shipped, returned, asked);
        let refused =
            |sku: &str, asked, left| Err(ReturnError::MoreThanDelivered { sku: sku.into(), asked, left });
        assert_eq!(delivered(&[], &shipped), Ok(()));
        assert_eq!(delivered(&[line("A", 1)], &[line("A", 1)]), Ok(()));
        assert_eq!(delivered(&[line("A", 1)], &[line("A", 2)]), refused("A", 2, 1));
        // Two lines with the same SKU count together.
        assert_eq!(delivered(&[], &[line("B", 1), line("B", 1)]), refused("B", 2, 1));
        assert_eq!(delivered(&[], &[line("C", 1)]), refused("C", 1, 0));
        for state in [ShipmentState::Preparing, ShipmentState::Shipped, ShipmentState::Cancelled] {
            assert_eq!(check(state, &shipped, &[], &shipped), Err(ReturnError::NotDelivered(state)));
        }
    }
}
