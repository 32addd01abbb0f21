//! What the three books say: Redis, SQL, and the payment service.

use uuid::Uuid;

use crate::domain::ledger::Counters;
use crate::domain::order::Line;
use crate::domain::state::OrderState;

/// What Redis keeps of one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub order_id: Uuid,
    pub buyer_id: Uuid,
    /// `Paid` when confirmed. It is never a state beyond payment, which Redis does not know.
    pub state: OrderState,
    pub lines: Vec<Line>,
    pub amount: i64,
}

/// What SQL keeps of one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    pub order_id: Uuid,
    pub buyer_id: Uuid,
    pub state: OrderState,
    pub lines: Vec<Line>,
    pub amount: i64,
    /// Whether its money was taken at some time. Then its units are sold, even if the order was later
    /// cancelled or returned.
    pub was_paid: bool,
    /// How much of it we have asked back since.
    pub given_back: i64,
    pub payment_id: Option<Uuid>,
}

impl Booked {
    /// What the buyer must have been charged, all in all.
    pub(super) fn owed(&self) -> i64 {
        if self.was_paid { self.amount - self.given_back } else { 0 }
    }
}

/// In the order in which the news of one charge can arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChargeOutcome {
    Failed,
    Succeeded,
    /// Refunded as a whole.
    Refunded,
}

impl ChargeOutcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Succeeded => "succeeded",
            Self::Refunded => "refunded",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Failed, Self::Succeeded, Self::Refunded].into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// What the payment service reported about one charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    pub payment_id: Uuid,
    pub order_id: Uuid,
    pub outcome: ChargeOutcome,
    /// Minor units; unknown for a charge that failed.
    pub amount: Option<i64>,
    /// How much of it went back.
    pub refunded: i64,
}

impl Charge {
    /// How much of it was kept.
    pub(super) fn net(&self) -> i64 {
        if self.outcome == ChargeOutcome::Succeeded {
            self.amount.unwrap_or_default() - self.refunded
        } else {
            0
        }
    }
}

/// What the payment service reported about money that went back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    pub payment_id: Uuid,
    pub order_id: Uuid,
    pub amount: i64,
}

/// One SKU of the sale, counted twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemBooks {
    pub sku: String,
    pub per_buyer_limit: i64,
    pub redis: Option<Counters>,
    pub ledger: Counters,
}

/// All three books about one sale.
#[derive(Clone, Debug, Default)]
pub struct Books {
    pub redis: Vec<Held>,
    pub orders: Vec<Booked>,
    pub charges: Vec<Charge>,
    pub items: Vec<ItemBooks>,
}
