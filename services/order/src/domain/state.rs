//! The states of an order and the one table of transitions between them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where an order stands. The wire and the database use the `snake_case` name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    Reserved,
    Paid,
    Preparing,
    Shipped,
    Delivered,
    Completed,
    Expired,
    PaymentFailed,
    Cancelled,
    ReturnRequested,
    Returned,
    Refunded,
}

use OrderState::{
    Cancelled, Completed, Delivered, Expired, Paid, PaymentFailed, Preparing, Refunded, Reserved,
    ReturnRequested, Returned, Shipped,
};

/// Every transition there is. What is not in this table cannot happen.
pub const TRANSITIONS: &[(OrderState, OrderState)] = &[
    // how a successful sale goes
    (Reserved, Paid),
    (Paid, Preparing),
    (Preparing, Shipped),
    (Shipped, Delivered),
    (Delivered, Completed),
    // units go back to the sale
    (Reserved, Expired),
    (Reserved, PaymentFailed),
    (Reserved, Cancelled),
    // paid, then cancelled before the carrier had it
    (Paid, Cancelled),
    (Preparing, Cancelled),
    // bought, then returned: either all of it, or a part while the buyer keeps the rest
    (Delivered, ReturnRequested),
    (ReturnRequested, Returned),
    (Returned, ReturnRequested),
    (Returned, Refunded),
    (Returned, Delivered),
];

/// All states, in the order of the table in the documentation.
pub const STATES: &[OrderState] = &[
    Reserved,
    Paid,
    Preparing,
    Shipped,
    Delivered,
    Completed,
    Expired,
    PaymentFailed,
    Cancelled,
    ReturnRequested,
    Returned,
    Refunded,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an order that is {from} cannot become {to}")]
pub struct ImpossibleTransition {
    pub from: OrderState,
    pub to: OrderState,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a state of an order")]
pub struct UnknownState(String);

impl OrderState {
    /// `to`, if the table allows going there from here.
    pub fn to(self, to: Self) -> Result<Self, ImpossibleTransition> {
        if TRANSITIONS.contains(&(self, to)) { Ok(to) } else { Err(ImpossibleTransition { from: self, to }) }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Reserved => "reserved",
            Paid => "paid",
            Preparing => "preparing",
            Shipped => "shipped",
            Delivered => "delivered",
            Completed => "completed",
            Expired => "expired",
            PaymentFailed => "payment_failed",
            Cancelled => "cancelled",
            ReturnRequested => "return_requested",
            Returned => "returned",
            Refunded => "refunded",
        }
    }
}

impl fmt::Display for OrderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OrderState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        STATES
            .iter()
            .copied()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownState(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_reads_back_from_its_name() {
        for state in STATES {
            assert_eq!(state.as_str().parse::<OrderState>(), Ok(*state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert!("sold".parse::<OrderState>().is_err());
    }

    #[test]
    fn a_transition_outside_the_table_is_an_error() {
        for from in STATES {
            for to in STATES {
                assert_eq!(from.to(*to).is_ok(), TRANSITIONS.contains(&(*from, *to)), "{from} → {to}");
            }
        }
        assert_eq!(Expired.to(Paid), Err(ImpossibleTransition { from: Expired, to: Paid }));
    }

    #[test]
    fn an_order_that_is_over_can_go_nowhere() {
        for from in [Expired, PaymentFailed, Cancelled, Refunded, Completed] {
            assert!(STATES.iter().all(|to| from.to(*to).is_err()), "{from} must be final");
        }
    }

    #[test]
    fn delivered_implies_paid_on_every_path() {
        // Walk backwards from `delivered`: the only way in leads through `paid`.
        let into = |to: OrderState| TRANSITIONS.iter().filter(move |t| t.1 == to).map(|t| t.0);
        let mut seen = vec![Delivered];
        let mut at = 0;
        while let Some(state) = seen.get(at).copied() {
            at += 1;
            if state != Paid {
                seen.extend(into(state).filter(|s| !seen.contains(s)).collect::<Vec<_>>());
            }
        }
        assert!(seen.contains(&Paid) && !seen.contains(&Reserved));
    }
}
