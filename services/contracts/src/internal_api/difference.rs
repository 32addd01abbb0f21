//! What two books say differently.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One thing that two books say differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub kind: DifferenceKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    /// In words, with what each book says.
    pub detail: String,
}

/// What differs. The wire has the name in `kebab-case`; names are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DifferenceKind {
    /// Redis does not know a sale that it is expected to know.
    RedisLost,
    /// Redis has less of the sale than it had.
    RedisBehind,
    /// Redis does not hold the terms that SQL has.
    TermsDiffer,
    /// The sale, or an order, is in another state in Redis than in SQL.
    StateDiffers,
    /// An order is neither paid nor released, and should be by now.
    StillReserved,
    BuyerDiffers,
    /// Other units, or another amount.
    ContentDiffers,
    /// SQL has the order and Redis does not.
    ReservationMissing,
    /// Redis has the order and SQL does not.
    OrderMissing,
    ChargedTwice,
    PaymentMissing,
    PaymentNotRefunded,
    PaymentAmountDiffers,
    PaymentDiffers,
    PaymentWithoutOrder,
    LedgerUnbalanced,
    RedisUnbalanced,
    CountersDiffer,
    SkuMissing,
    OrdersDifferFromLedger,
    LimitExceeded,
    /// One that this version has not heard of.
    #[serde(untagged)]
    Other(String),
}

impl fmt::Display for DifferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

#[cfg(test)]
mod tests {
    use super::DifferenceKind;

    #[test]
    fn a_kind_is_known_by_its_name_and_one_that_is_not_known_keeps_its_own() {
        let read = |name: &str| serde_json::from_value::<DifferenceKind>(name.into()).unwrap();
        assert_eq!(read("orders-differ-from-ledger"), DifferenceKind::OrdersDifferFromLedger);
        assert_eq!(read("colour-differs"), DifferenceKind::Other("colour-differs".into()));
        for name in ["redis-lost", "colour-differs"] {
            assert_eq!(read(name).to_string(), name);
            assert_eq!(serde_json::to_value(read(name)).unwrap(), name);
        }
    }
}
