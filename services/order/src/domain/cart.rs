//! What a buyer intends to buy.
//!
//! A cart holds no units. What its lines cost and whether they are available is looked up when the cart is
//! shown, and decided at check-out. A line remembers the price that its buyer saw when choosing it, so that
//! we can point out a change.

use std::collections::BTreeMap;

/// The most lines in a cart: an order has no more.
pub const MAX_LINES: usize = 100;
/// The most units of one SKU; a CHECK in SQL says the same.
pub const MAX_QUANTITY: i64 = 999;

/// A price as somebody saw it: minor units and ISO 4217.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    pub amount: i64,
    pub currency: String,
}

/// A line as it is kept, with the current state of its SKU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CartLine {
    pub sku: String,
    pub quantity: i64,
    /// The price when its buyer chose it.
    pub seen: Price,
    pub now: OnOffer,
    pub added_at_ms: i64,
}

/// A SKU as it is on offer now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnOffer {
    pub product_id: uuid::Uuid,
    pub title: String,
    pub published: bool,
    pub price: Price,
    /// Units on the shelf that nobody has reserved, according to the books.
    pub free: i64,
}

impl CartLine {
    pub fn price_changed(&self) -> bool {
        self.seen != self.now.price
    }

    /// Units that a buyer could get now, up to the most that anybody may want.
    pub fn available(&self) -> i64 {
        if self.now.published { self.now.free.clamp(0, MAX_QUANTITY) } else { 0 }
    }
}

/// What a member holds without having paid: open orders of ordinary stock, and their units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpaid {
    pub orders: i64,
    pub units: i64,
}

/// How much a member may hold unpaid at a time, so that nobody takes the shop off sale by not paying. 0:
/// any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnpaidLimits {
    pub orders: i64,
    pub units: i64,
}

impl UnpaidLimits {
    /// Whether one more order with this many units is within the limits.
    pub fn admit(self, unpaid: Unpaid, units: i64) -> bool {
        let within = |limit: i64, wanted: i64| limit == 0 || wanted <= limit;
        within(self.orders, unpaid.orders + 1) && within(self.units, unpaid.units + units)
    }
}

/// What a cart costs, by currency.
pub fn totals(lines: &[CartLine]) -> BTreeMap<&str, i64> {
    let mut totals = BTreeMap::new();
    for line in lines {
        *totals.entry(line.now.price.currency.as_str()).or_default() += line.quantity * line.now.price.amount;
    }
    totals
}

/// What happens to a line that is merged into a cart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The cart now holds this many.
    Quantity(i64),
    /// The sum would be too many of one SKU, so the cart holds the most allowed.
    Reduced,
    /// The cart already has as many lines as allowed.
    Full,
}

/// Adds a line to a cart's quantities by SKU. Quantities of the same SKU add up.
pub fn merge(cart: &mut BTreeMap<String, i64>, sku: &str, quantity: i64) -> Merged {
    if !cart.contains_key(sku) && cart.len() >= MAX_LINES {
        return Merged::Full;
    }
    let held = cart.entry(sku.to_owned()).or_default();
    let sum = held.saturating_add(quantity);
    *held = sum.min(MAX_QUANTITY);
    if sum > MAX_QUANTITY { Merged::Reduced } else { Merged::Quantity(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_member_holds_unpaid_is_bounded_in_orders_and_in_units_s6() {
        let limits = UnpaidLimits { orders: 2, units: 10 };
        assert!(limits.admit(Unpaid::default(), 10) && !limits.admit(Unpaid::default(), 11));
        assert!(
            limits.admit(Unpaid { orders: 1, units: 4 }, 6)
                && !limits.admit(Unpaid { orders: 1, units: 5 }, 6)
        );
        assert!(!limits.admit(Unpaid { orders: 2, units: 2 }, 1));
        assert!(UnpaidLimits { orders: 0, units: 0 }.admit(Unpaid { orders: 99, units: 99_999 }, 99_900));
    }

    #[test]
    fn quantities_add_up_to_the_limit_and_no_further() {
        let mut cart = BTreeMap::from([("MUG".to_owned(), 2)]);
        assert_eq!(merge(&mut cart, "MUG", 3), Merged::Quantity(5));
        assert_eq!(merge(&mut cart, "PEN", 999), Merged::Quantity(999));
        assert_eq!(merge(&mut cart, "PEN", 1), Merged::Reduced);
        assert_eq!(merge(&mut cart, "MUG", i64::MAX), Merged::Reduced);
        assert_eq!((cart["MUG"], cart["PEN"]), (999, 999));
    }

    #[test]
    fn a_full_cart_takes_more_of_what_it_has_and_nothing_new() {
        let mut cart: BTreeMap<String, i64> = (0..MAX_LINES).map(|n| (format!("S{n}"), 1)).collect();
        assert_eq!(merge(&mut cart, "MUG", 1), Merged::Full);
        assert_eq!(merge(&mut cart, "S7", 1), Merged::Quantity(2));
        assert_eq!(cart.len(), MAX_LINES);
    }

    fn line(price: i64, currency: &str, published: bool, free: i64) -> CartLine {
        CartLine {
            sku: "MUG".into(),
            quantity: 2,
            seen: Price { amount: 500, currency: "EUR".into() },
            now: OnOffer {
                product_id: uuid::Uuid::nil(),
                title: "A mug".into(),
                published,
                price: Price { amount: price, currency: currency.into() },
                free,
            },
            added_at_ms: 0,
        }
    }

    #[test]
    fn another_price_and_another_currency_are_changes() {
        assert!(!line(500, "EUR", true, 1).price_changed());
        assert!(line(499, "EUR", true, 1).price_changed());
        assert!(line(500, "USD", true, 1).price_changed());
    }

    #[test]
    fn what_is_withdrawn_cannot_be_had_and_each_currency_has_its_total() {
        assert_eq!(line(500, "EUR", false, 9).available(), 0);
        assert_eq!(line(500, "EUR", true, 5_000).available(), MAX_QUANTITY);
        let lines = [line(500, "EUR", true, 1), line(7, "EUR", true, 1), line(300, "USD", true, 1)];
        assert_eq!(totals(&lines), BTreeMap::from([("EUR", 1014), ("USD", 600)]));
    }
}
