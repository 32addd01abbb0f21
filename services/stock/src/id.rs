//! The ids that travel with a reservation. Each has its own type, so that nobody can swap them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    };
}

id! {
    /// A sale: the uid of its `FlashSale`, or the id of the standing stock.
    SaleId
}
id! {
    /// An order. Whoever asks for the reservation picks the id before asking Redis.
    OrderId
}
impl OrderId {
    /// A fresh id for an order of this sale. Its last two bytes are the sale's, so that we can look for an
    /// order where it probably is; what we find there still has to be checked. The rest of the id, a time and
    /// 58 bits, is unique enough: the functions refuse an id that is in use.
    pub fn fresh(sale: SaleId) -> Self {
        let mut bytes = Uuid::now_v7().into_bytes();
        bytes[14..].copy_from_slice(&sale.0.as_bytes()[14..]);
        Self(Uuid::from_bytes(bytes))
    }

    /// Whether [`Self::fresh`] may have made this id for this sale.
    pub fn hints_at(self, sale: SaleId) -> bool {
        self.ending() == sale.ending()
    }

    /// The part that an id from [`Self::fresh`] shares with its sale.
    pub fn ending(self) -> [u8; 2] {
        ending(self.0)
    }
}

impl SaleId {
    /// The part that the ids of its orders end with.
    pub fn ending(self) -> [u8; 2] {
        ending(self.0)
    }
}

fn ending(id: Uuid) -> [u8; 2] {
    let [.., before_last, last] = id.into_bytes();
    [before_last, last]
}

id! {
    /// A member who buys: the token's `sub`.
    BuyerId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_hints_at_its_sale_and_ids_stay_unique_and_in_order() {
        let (sale, other) = (SaleId(Uuid::from_u128(7)), SaleId(Uuid::from_u128(8)));
        let ids: Vec<OrderId> = (0..10_000).map(|_| OrderId::fresh(sale)).collect();
        assert!(ids.iter().all(|id| id.hints_at(sale) && !id.hints_at(other)));
        assert!(ids.iter().all(|id| id.0.get_version_num() == 7));
        let distinct: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }
}
