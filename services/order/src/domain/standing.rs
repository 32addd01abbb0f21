//! Ordinary stock on offer. For each currency there is one sale without an end, the *standing sale*, in
//! which a SKU has its *shelf*.
//!
//! ```text
//!   on_hand = allocated to flash sales
//!           + on shelves (free or reserved there)
//!           + unoffered  (not published, or about to be put on the shelf)
//! ```
//!
//! [`plan`] says what has to happen to one SKU so that everything that could be sold is offered, and
//! nothing that should not be. It only plans: units go on a shelf in SQL first and in Redis afterwards, and
//! come off in Redis first. If we are cut short in between, Redis offers less than SQL allows, never more.

use uuid::Uuid;

use super::ledger::Counters;

/// Namespace of the ids of standing sales.
const NAMESPACE: Uuid = Uuid::from_u128(0x5f0d_2c7e_9a41_4b6b_8f53_d1c6_0e27_b394);

/// The standing sale of a currency (ISO 4217): the same id in every shop, for ever.
pub fn sale_id(currency: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, currency.as_bytes())
}

/// Whether this sale, in this currency, is the ordinary stock.
pub fn is_standing(sale: Uuid, currency: &str) -> bool {
    may_be_standing(sale) && sale_id(currency) == sale
}

/// Whether this may be a standing sale in any currency: no other sale's id is derived from a name.
pub fn may_be_standing(sale: Uuid) -> bool {
    sale.get_version_num() == 5
}

/// A SKU as its seller and the books have it. Prices are in minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sku {
    pub sku: String,
    pub published: bool,
    pub currency: String,
    pub price: i64,
    /// Units on hand that the seller does not have ([`supply`](super::supply)).
    pub surplus: i64,
    pub on_hand: i64,
    pub allocated: i64,
    pub shelved: i64,
}

impl Sku {
    /// Units on hand that are neither promised to a flash sale nor on a shelf.
    pub fn unoffered(&self) -> i64 {
        self.on_hand - self.allocated - self.shelved
    }
}

/// This SKU's shelf in the standing sale of a currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelf {
    pub currency: String,
    pub price: i64,
    pub units: Counters,
}

/// What has to happen to one SKU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Units to take off shelves, by currency, as far as they are still free in Redis.
    pub take_off: Vec<(String, i64)>,
    /// Unoffered units to remove as surplus.
    pub cut: i64,
    /// Whether the units taken off are surplus too.
    pub cut_what_is_taken_off: bool,
    pub offer: Option<Offer>,
    /// Buyers hold units that may come back to a shelf where they should not stay.
    pub waits: bool,
}

/// This many more units for the shelf of this currency, at this price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub currency: String,
    pub units: i64,
    pub price: i64,
}

impl Plan {
    /// There is nothing to do, neither now nor once buyers give something back.
    pub fn is_settled(&self) -> bool {
        *self == Self::default()
    }
}

pub fn plan(sku: &Sku, shelves: &[Shelf]) -> Plan {
    let mut plan = Plan::default();
    let is_own = |shelf: &Shelf| sku.published && shelf.currency == sku.currency;
    let own = shelves.iter().find(|shelf| is_own(shelf));

    plan.cut = sku.surplus.min(sku.unoffered());
    let surplus = sku.surplus - plan.cut;
    if let Some(own) = own.filter(|_| surplus > 0) {
        let from_shelf = surplus.min(own.units.remaining);
        if from_shelf > 0 {
            plan.take_off.push((own.currency.clone(), from_shelf));
            plan.cut_what_is_taken_off = true;
        }
        plan.waits |= own.units.reserved > 0;
    }
    for wrong in shelves.iter().filter(|shelf| !is_own(shelf)) {
        if wrong.units.remaining > 0 {
            plan.take_off.push((wrong.currency.clone(), wrong.units.remaining));
        }
        plan.waits |= wrong.units.reserved > 0;
    }
    // We handle either a wrong shelf or a surplus at a time, never both.
    plan.cut_what_is_taken_off &= plan.take_off.len() == 1;

    let units = sku.unoffered() - plan.cut;
    let same_price = own.is_some_and(|shelf| shelf.price == sku.price);
    if sku.published && (units > 0 || !same_price) {
        plan.offer = Some(Offer { currency: sku.currency.clone(), units, price: sku.price });
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sku() -> Sku {
        Sku {
            sku: "MUG".into(),
            published: true,
            currency: "EUR".into(),
            price: 500,
            surplus: 0,
            on_hand: 10,
            allocated: 0,
            shelved: 0,
        }
    }

    /// `sku`, including this shelf.
    fn with(sku: Sku, remaining: i64, reserved: i64) -> (Sku, Vec<Shelf>) {
        let units = Counters { preloaded: remaining + reserved, remaining, reserved, sold: 0 };
        let shelf = Shelf { currency: "EUR".into(), price: 500, units };
        (Sku { shelved: remaining + reserved, ..sku }, vec![shelf])
    }

    fn planned((sku, shelves): (Sku, Vec<Shelf>)) -> Plan {
        plan(&sku, &shelves)
    }

    fn offer(units: i64) -> Plan {
        let offer = Offer { currency: "EUR".into(), units, price: 500 };
        Plan { offer: Some(offer), ..Plan::default() }
    }

    fn off(units: i64) -> Vec<(String, i64)> {
        vec![("EUR".into(), units)]
    }

    #[test]
    fn the_id_of_a_standing_sale_is_that_of_its_currency() {
        assert!(is_standing(sale_id("EUR"), "EUR") && !is_standing(sale_id("EUR"), "KRW"));
        assert_eq!(sale_id("EUR"), sale_id("EUR"));
        assert!(may_be_standing(sale_id("EUR")));
        for other in [Uuid::now_v7(), Uuid::new_v4(), Uuid::nil()] {
            assert!(!is_standing(other, "EUR") && !may_be_standing(other));
        }
    }

    #[test]
    fn what_is_on_hand_and_not_allocated_is_offered_and_then_nothing_is_left_to_do() {
        assert_eq!(plan(&sku(), &[]), offer(10));
        assert!(planned(with(sku(), 8, 2)).is_settled());
        assert_eq!(planned(with(Sku { allocated: 4, ..sku() }, 3, 1)), offer(2));
    }

    #[test]
    fn what_is_sold_out_stays_on_its_shelf_for_what_comes_back() {
        let sold_out = Sku { on_hand: 0, ..sku() };
        assert_eq!(plan(&sold_out, &[]), offer(0), "it may be put into a cart and be refused as sold out");
        assert!(planned(with(sold_out, 0, 0)).is_settled());
    }

    #[test]
    fn a_new_price_is_offered_without_more_units() {
        let offer = Offer { currency: "EUR".into(), units: 0, price: 400 };
        let expected = Plan { offer: Some(offer), ..Plan::default() };
        assert_eq!(planned(with(Sku { price: 400, ..sku() }, 8, 2)), expected);
    }

    #[test]
    fn what_is_withdrawn_leaves_its_shelf_but_not_its_buyers() {
        let withdrawn = || Sku { published: false, ..sku() };
        let waits = Plan { waits: true, ..Plan::default() };
        assert_eq!(planned(with(withdrawn(), 8, 2)), Plan { take_off: off(8), ..waits.clone() });
        assert_eq!(planned(with(withdrawn(), 0, 2)), waits, "they may come back");
        assert!(planned(with(withdrawn(), 0, 0)).is_settled());
        assert!(plan(&withdrawn(), &[]).is_settled());
    }

    #[test]
    fn what_is_sold_in_another_currency_now_changes_shelves() {
        let (dollars, shelves) = with(Sku { currency: "USD".into(), ..sku() }, 8, 2);
        let to_dollars = Offer { currency: "USD".into(), units: 0, price: 500 };
        let expected = Plan { take_off: off(8), offer: Some(to_dollars), waits: true, ..Plan::default() };
        assert_eq!(plan(&dollars, &shelves), expected);
    }

    #[test]
    fn a_surplus_is_taken_from_what_is_free_and_waits_for_what_buyers_hold() {
        let less = |wanted: i64| Sku { surplus: 10 - wanted, ..sku() };
        let back = |cut, shelf, waits| Plan {
            cut,
            take_off: if shelf > 0 { off(shelf) } else { Vec::new() },
            cut_what_is_taken_off: shelf > 0,
            waits,
            ..Plan::default()
        };
        assert_eq!(planned(with(less(2), 8, 2)), back(0, 8, true));
        assert_eq!(planned(with(less(1), 8, 2)), back(0, 8, true), "a buyer holds two");
        assert_eq!(planned(with(less(9), 8, 0)), Plan { offer: offer(1).offer, ..back(1, 0, false) });
        assert_eq!(planned(with(less(4), 5, 2)), back(3, 3, true), "unoffered units go first");
        let promised = Sku { allocated: 10, surplus: 6, ..sku() };
        assert!(planned(with(promised, 0, 0)).is_settled(), "until the flash sale gives units back");
    }

    #[test]
    fn following_the_plan_ends_and_loses_no_unit() {
        for wanted in [None, Some(0), Some(4), Some(9)] {
            for (published, reserved) in [(true, 0), (true, 3), (false, 0), (false, 3)] {
                let surplus = wanted.map_or(0, |wanted| 10 - wanted);
                let (mut sku, mut shelves) = with(Sku { published, surplus, ..sku() }, 4, reserved);
                let has = sku.on_hand - sku.surplus;
                for _ in 0..4 {
                    let plan = plan(&sku, &shelves);
                    let off: i64 = plan.take_off.iter().map(|(_, units)| units).sum();
                    let cut = plan.cut + if plan.cut_what_is_taken_off { off } else { 0 };
                    let more = plan.offer.map_or(0, |offer| offer.units);
                    shelves[0].units.remaining += more - off;
                    shelves[0].units.preloaded += more - off;
                    (sku.shelved, sku.on_hand) = (sku.shelved + more - off, sku.on_hand - cut);
                    sku.surplus -= cut;
                }
                assert_eq!(sku.on_hand - sku.surplus, has);
                assert!(sku.unoffered() >= 0 && shelves[0].units.balanced(), "{sku:?} {shelves:?}");
                let now = plan(&sku, &shelves);
                assert_eq!(Plan { waits: false, ..now.clone() }, Plan::default(), "{sku:?} {shelves:?}");
                assert_eq!(
                    shelves[0].units.remaining == 0,
                    !published || wanted.is_some_and(|w| w <= reserved)
                );
            }
        }
    }
}
