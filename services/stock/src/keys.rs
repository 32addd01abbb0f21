//! The names of a sale's keys. All share one hash tag, so they live on one node of a cluster.

use crate::id::SaleId;

/// The set of ids of sales that have a stream.
pub(crate) const SALES: &str = "rm:sales";

/// A field, or member, that each key of a sale has. It makes the key exist for as long as nobody takes it
/// away.
pub(crate) const ANCHOR: &str = "anchor";

pub(crate) const COUNT: usize = 7;

/// Every key of one sale, in the order that the functions expect.
pub(crate) fn all(sale: SaleId) -> [String; COUNT] {
    [
        SALE_HASH.of(sale),
        STOCK.of(sale),
        HELD.of(sale),
        IDEMPOTENCY.of(sale),
        RESERVATIONS.of(sale),
        DEADLINES.of(sale),
        EVENTS.of(sale),
    ]
}

/// The same keys, followed by the keys beside them in which a lost sale is rebuilt.
pub(crate) fn all_and_beside(sale: SaleId) -> Vec<String> {
    let own = all(sale);
    let beside: Vec<_> = own.iter().map(|key| format!("{key}.rebuilt")).collect();
    own.into_iter().chain(beside).collect()
}

/// One kind of key.
pub(crate) struct Key(&'static str);

impl Key {
    pub(crate) fn of(&self, sale: SaleId) -> String {
        format!("rm:{{{sale}}}:{}", self.0)
    }
}

pub(crate) const SALE_HASH: Key = Key("sale");
const STOCK: Key = Key("stock");
const HELD: Key = Key("held");
pub(crate) const IDEMPOTENCY: Key = Key("keys");
pub(crate) const RESERVATIONS: Key = Key("reservations");
const DEADLINES: Key = Key("deadlines");
pub(crate) const EVENTS: Key = Key("events");

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn keys_are_those_of_the_contract() {
        let id = "0192f0c1-2b3c-7d4e-8f50-112233445566";
        let sale = SaleId(id.parse::<Uuid>().unwrap());
        let names = ["sale", "stock", "held", "keys", "reservations", "deadlines", "events"];
        assert_eq!(all(sale), names.map(|name| format!("rm:{{{id}}}:{name}")));
    }
}
