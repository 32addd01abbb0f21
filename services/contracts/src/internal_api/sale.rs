//! A sale as the operator asks for it, and how it stands.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Difference;
use crate::list;

/// Most SKUs in one sale.
pub const MAX_ITEMS: usize = 100;

/// The body of a PUT: allot these units to the sale and load it; or add units and time to a loaded one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaleTerms {
    pub name: String,
    pub fence: i64,
    /// At most [`MAX_ITEMS`].
    #[serde(deserialize_with = "list::at_most::<MAX_ITEMS, _, _>")]
    pub items: Vec<Item>,
    /// ISO 4217.
    pub currency: String,
    #[serde(with = "time::serde::rfc3339")]
    pub opens_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub closes_at: OffsetDateTime,
    /// How long a buyer may take to pay.
    pub payment_seconds: i64,
}

/// What one SKU is sold for, to whom and how many. `price` in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Item {
    pub sku: String,
    pub units: i64,
    pub price: i64,
    pub per_buyer_limit: i64,
}

/// Where a sale stands, by the books of the order service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SaleState {
    /// Units are allocated in SQL; Redis is being filled, or was not read back yet.
    Loading,
    /// Redis was read back equal to the terms: it sells as soon as its window opens.
    Ready,
    Suspended,
    Closed,
    Cancelled,
    /// The books were compared and agree; unsold units are back in the standing stock.
    ClosedOut,
}

impl SaleState {
    const ALL: [Self; 6] =
        [Self::Loading, Self::Ready, Self::Suspended, Self::Closed, Self::Cancelled, Self::ClosedOut];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Ready => "ready",
            Self::Suspended => "suspended",
            Self::Closed => "closed",
            Self::Cancelled => "cancelled",
            Self::ClosedOut => "closed_out",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether the sale takes no more purchases, for good.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Cancelled | Self::ClosedOut)
    }
}

/// How a sale stands: Redis' counters, the ledger, what is still on its way, and where the two disagree about
/// what was promised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaleStatus {
    pub id: Uuid,
    pub name: String,
    pub state: SaleState,
    pub fence: i64,
    /// Redis was read just now and holds exactly what SQL promises, in the state SQL names.
    pub verified: bool,
    /// Redis' clock, Unix milliseconds.
    pub now_ms: i64,
    pub opens_at_ms: i64,
    pub closes_at_ms: i64,
    /// By Redis.
    pub items: Vec<ItemCount>,
    /// By SQL.
    pub ledger: Vec<ItemCount>,
    pub outstanding: Outstanding,
    /// Where Redis does not hold what SQL promises.
    pub differences: Vec<Difference>,
    /// The last time that Redis lost the sale and it was rebuilt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuilt: Option<Rebuilt>,
}

/// Where the units of one SKU are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemCount {
    pub sku: String,
    #[serde(flatten)]
    pub units: Counters,
}

/// Units of one SKU in one sale, as Redis counts them or as SQL does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counters {
    pub preloaded: i64,
    pub remaining: i64,
    pub reserved: i64,
    pub sold: i64,
}

impl Counters {
    /// Units that are nowhere (above zero) or twice (below): invariant I1 has none.
    pub fn drift(&self) -> i64 {
        self.preloaded - self.remaining - self.reserved - self.sold
    }

    /// Invariants I1 and I2: nothing lost, nothing negative, nothing oversold.
    pub fn balanced(&self) -> bool {
        self.remaining >= 0 && self.reserved >= 0 && self.sold >= 0 && self.drift() == 0
    }
}

/// What is still on its way. All zero: the sale is drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outstanding {
    /// Reservations neither paid nor released.
    pub reservations: u64,
    /// Entries of the stream whose events are not all in SQL.
    pub stream_entries: u64,
    /// Events about this sale's orders that are not published yet.
    pub outbox: i64,
    /// Charges and refunds asked for whose outcome is not known.
    pub payments_pending: i64,
}

impl Outstanding {
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What came of making a sale anew in Redis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuilt {
    /// How often it was, this time counted.
    pub incarnation: i32,
    /// What Redis had lost, in words.
    pub reason: String,
    #[serde(with = "time::serde::rfc3339")]
    pub rebuilt_at: OffsetDateTime,
    pub orders: i64,
    /// Payments that waited for it.
    pub parked: i64,
    /// Purchases that Redis acknowledged between the two and that are not in the books are unknown.
    #[serde(with = "time::serde::rfc3339")]
    pub unknown_from: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub unknown_until: OffsetDateTime,
    /// Those of them that came too late.
    pub late_reservations: i64,
}

#[cfg(test)]
mod tests {
    use super::{Counters, SaleState};

    #[test]
    fn counters_that_lost_a_unit_or_went_negative_are_not_balanced() {
        assert!(Counters { preloaded: 10, remaining: 5, reserved: 3, sold: 2 }.balanced());
        assert!(!Counters { preloaded: 10, remaining: 5, reserved: 3, sold: 1 }.balanced());
        assert!(!Counters { preloaded: 10, remaining: -1, reserved: 3, sold: 8 }.balanced());
    }

    #[test]
    fn the_name_of_a_state_reads_back_and_is_its_serialized_form() {
        for state in SaleState::ALL {
            assert_eq!(SaleState::parse(state.as_str()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}
