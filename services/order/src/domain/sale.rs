//! The terms of a sale, and what is wrong with them.
//!
//! [`check`] compares what the operator asks for with what the catalog published, what is in stock and what
//! was agreed before. It names every broken rule by field, not only the first.

use std::collections::{BTreeMap, HashSet};

use rocketmart_contracts::currency::Currency;
use rocketmart_contracts::internal_api::{Item, MAX_ITEMS, SaleState};

/// Longest time to pay: a day.
pub const MAX_PAYMENT_SECONDS: i64 = 86_400;
/// Most units of one SKU: keeps every sum far inside 64 bits and inside Lua's exact integers.
pub const MAX_UNITS: i64 = 1_000_000_000;
/// Highest price in minor units, for the same reason.
pub const MAX_PRICE: i64 = 1_000_000_000_000;

/// What the operator may ask of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Suspend,
    Resume,
    Close,
    Cancel,
}

/// The sale takes no more purchases for good, so nobody can suspend or resume it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sale is over: it is {}", .0.as_str())]
pub struct SaleOver(pub SaleState);

impl Action {
    /// What the action makes of a sale. Asking for what is already so changes nothing. A sale that was
    /// never read back equal (`loaded`) goes back to loading when it is resumed.
    pub fn on(self, state: SaleState, loaded: bool) -> Result<SaleState, SaleOver> {
        match (self, state) {
            (Self::Suspend | Self::Resume, over) if over.is_over() => Err(SaleOver(over)),
            (Self::Suspend, _) => Ok(SaleState::Suspended),
            (Self::Resume, _) => Ok(if loaded { SaleState::Ready } else { SaleState::Loading }),
            (Self::Close, SaleState::Cancelled | SaleState::ClosedOut)
            | (Self::Cancel, SaleState::ClosedOut) => Ok(state),
            (Self::Close, _) => Ok(SaleState::Closed),
            (Self::Cancel, _) => Ok(SaleState::Cancelled),
        }
    }
}

/// Everything a sale promises. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    pub name: String,
    pub currency: String,
    pub opens_at_ms: i64,
    pub closes_at_ms: i64,
    pub payment_seconds: i64,
    pub items: Vec<Item>,
}

/// A SKU as the catalog published it, and the units that are not yet promised to anyone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSku {
    pub published: bool,
    pub currency: String,
    pub available: i64,
}

/// A broken rule, named so that a person can fix it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Such as `items[0].units`.
    pub field: String,
    /// Such as `at-least-one`; stable.
    pub rule: &'static str,
    pub detail: String,
}

/// Every rule that `terms` break. `agreed` are the same sale's present terms, if it exists; `now_ms`
/// decides whether it is open.
pub fn check(
    terms: &Terms,
    known: &BTreeMap<String, KnownSku>,
    agreed: Option<&Terms>,
    now_ms: i64,
) -> Vec<Violation> {
    let mut broken = Broken::default();
    broken.check_shape(terms);
    for (index, item) in terms.items.iter().enumerate() {
        let promised = agreed.map_or(0, |agreed| agreed.units(&item.sku));
        broken.check_against_stock(index, item, terms, known, promised);
    }
    match agreed {
        Some(agreed) => broken.check_against_agreed(terms, agreed, now_ms),
        None => broken.unless(
            Currency::from_code(&terms.currency).is_some(),
            "currency",
            "iso-4217",
            "must be the ISO 4217 code of a currency in use, such as EUR",
        ),
    }
    broken.0
}

impl Terms {
    fn units(&self, sku: &str) -> i64 {
        self.items.iter().find(|item| item.sku == sku).map_or(0, |item| item.units)
    }
}

#[derive(Default)]
struct Broken(Vec<Violation>);

impl Broken {
    fn unless(
        &mut self,
        holds: bool,
        field: impl Into<String>,
        rule: &'static str,
        detail: impl Into<String>,
    ) {
        if !holds {
            self.0.push(Violation { field: field.into(), rule, detail: detail.into() });
        }
    }

    fn check_shape(&mut self, terms: &Terms) {
        let name = terms.name.len();
        self.unless((1..=253).contains(&name), "name", "length", "must have 1 to 253 characters");
        let window = terms.opens_at_ms < terms.closes_at_ms;
        self.unless(window, "closes_at", "after-opens-at", "a sale must close after it opens");
        let pay = (1..=MAX_PAYMENT_SECONDS).contains(&terms.payment_seconds);
        self.unless(pay, "payment_seconds", "range", format!("must be 1 to {MAX_PAYMENT_SECONDS}"));
        let count = (1..=MAX_ITEMS).contains(&terms.items.len());
        self.unless(count, "items", "length", format!("must have 1 to {MAX_ITEMS} items"));
        let mut seen = HashSet::new();
        for (index, item) in terms.items.iter().enumerate() {
            let at = |field: &str| format!("items[{index}].{field}");
            let sku = (1..=128).contains(&item.sku.len())
                && item.sku.bytes().all(|b| b.is_ascii_graphic() && !br#""\|,*"#.contains(&b));
            self.unless(
                sku,
                at("sku"),
                "format",
                r#"must be 1 to 128 visible ASCII characters without " \ | , *"#,
            );
            self.unless(seen.insert(&item.sku), at("sku"), "unique", "is listed twice");
            self.unless(item.units >= 1, at("units"), "at-least-one", "must be at least 1");
            self.unless(
                item.units <= MAX_UNITS,
                at("units"),
                "maximum",
                format!("must be at most {MAX_UNITS}"),
            );
            self.unless(item.price >= 0, at("price"), "not-negative", "must not be below zero");
            self.unless(
                item.price <= MAX_PRICE,
                at("price"),
                "maximum",
                format!("must be at most {MAX_PRICE}"),
            );
            let limit = item.per_buyer_limit;
            self.unless(limit >= 1, at("per_buyer_limit"), "at-least-one", "must be at least 1");
            self.unless(
                limit <= item.units,
                at("per_buyer_limit"),
                "within-units",
                "must not exceed the units",
            );
        }
    }

    fn check_against_stock(
        &mut self,
        index: usize,
        item: &Item,
        terms: &Terms,
        known: &BTreeMap<String, KnownSku>,
        promised: i64,
    ) {
        let sku = format!("items[{index}].sku");
        let Some(known) = known.get(&item.sku) else {
            return self.unless(false, sku, "known-to-catalog", "the catalog has published no such SKU");
        };
        // What was agreed stays agreed, even if the seller withdraws the product afterwards.
        self.unless(known.published || promised > 0, &sku, "published", "its product is not published");
        let wanted = item.units - promised;
        // Promised units do not change their currency with the catalog either, but more units would be in
        // the new one.
        let detail = format!("the catalog prices it in {}", known.currency);
        self.unless(
            known.currency == terms.currency || (promised > 0 && wanted <= 0),
            "currency",
            "same-as-catalog",
            format!("{}: {detail}", item.sku),
        );
        let detail = format!("{wanted} more units are wanted, {} are available", known.available);
        self.unless(
            wanted <= known.available.max(0),
            format!("items[{index}].units"),
            "within-stock",
            detail,
        );
    }

    fn check_against_agreed(&mut self, terms: &Terms, agreed: &Terms, now_ms: i64) {
        self.unless(terms.name == agreed.name, "name", "fixed", "cannot change once loaded");
        self.unless(terms.currency == agreed.currency, "currency", "fixed", "cannot change once loaded");
        let pay = terms.payment_seconds == agreed.payment_seconds;
        self.unless(pay, "payment_seconds", "fixed", "cannot change once loaded");
        let opened = now_ms >= agreed.opens_at_ms;
        let opens = !opened || terms.opens_at_ms == agreed.opens_at_ms;
        self.unless(opens, "opens_at", "fixed-once-open", "the sale has opened");
        let closes = !opened || terms.closes_at_ms >= agreed.closes_at_ms;
        self.unless(closes, "closes_at", "not-earlier-once-open", "the window of an open sale may only grow");
        for old in &agreed.items {
            let Some(index) = terms.items.iter().position(|item| item.sku == old.sku) else {
                self.unless(false, "items", "none-removed", format!("{} was loaded and is missing", old.sku));
                continue;
            };
            let new = &terms.items[index];
            let at = |field: &str| format!("items[{index}].{field}");
            let grown = new.units >= old.units;
            self.unless(grown, at("units"), "not-fewer", format!("{} units were loaded already", old.units));
            self.unless(new.price == old.price, at("price"), "fixed", "cannot change once loaded");
            let limit = new.per_buyer_limit == old.per_buyer_limit;
            self.unless(limit, at("per_buyer_limit"), "fixed", "cannot change once loaded");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        let item = Item { sku: "MUG".into(), units: 10, price: 500, per_buyer_limit: 1 };
        Terms {
            name: "spring".into(),
            currency: "EUR".into(),
            opens_at_ms: 1_000,
            closes_at_ms: 2_000,
            payment_seconds: 60,
            items: vec![item],
        }
    }

    fn catalog() -> BTreeMap<String, KnownSku> {
        [("MUG".into(), KnownSku { published: true, currency: "EUR".into(), available: 10 })].into()
    }

    fn broken(terms: &Terms, agreed: Option<&Terms>, now_ms: i64) -> Vec<String> {
        let mut catalog = catalog();
        if agreed.is_some() {
            catalog.get_mut("MUG").unwrap().available = 5;
        }
        check(terms, &catalog, agreed, now_ms)
            .into_iter()
            .map(|v| format!("{} {}", v.field, v.rule))
            .collect()
    }

    #[test]
    fn good_terms_break_nothing() {
        assert!(broken(&terms(), None, 0).is_empty());
    }

    #[test]
    fn each_broken_rule_is_named_by_field() {
        type Spoil = fn(&mut Terms);
        let cases: &[(Spoil, &str)] = &[
            (|t| t.name.clear(), "name length"),
            (|t| t.currency = "euro".into(), "currency iso-4217"),
            (|t| t.currency = "XXX".into(), "currency iso-4217"),
            (|t| t.currency = "KWR".into(), "currency iso-4217"),
            (|t| t.currency = "USD".into(), "currency same-as-catalog"),
            (|t| t.closes_at_ms = t.opens_at_ms, "closes_at after-opens-at"),
            (|t| t.payment_seconds = 0, "payment_seconds range"),
            (|t| t.items.clear(), "items length"),
            (|t| t.items.push(t.items[0].clone()), "items[1].sku unique"),
            (|t| t.items[0].sku = "PEN".into(), "items[0].sku known-to-catalog"),
            (|t| t.items[0].sku = "a b".into(), "items[0].sku format"),
            (|t| t.items[0].units = 0, "items[0].units at-least-one"),
            (|t| t.items[0].units = -4, "items[0].units at-least-one"),
            (|t| t.items[0].units = 11, "items[0].units within-stock"),
            (|t| t.items[0].units = i64::MAX, "items[0].units maximum"),
            (|t| t.items[0].price = -1, "items[0].price not-negative"),
            (|t| t.items[0].per_buyer_limit = 0, "items[0].per_buyer_limit at-least-one"),
            (|t| t.items[0].per_buyer_limit = 11, "items[0].per_buyer_limit within-units"),
        ];
        for (spoil, expected) in cases {
            let mut spoiled = terms();
            spoil(&mut spoiled);
            let found = broken(&spoiled, None, 0);
            assert!(found.iter().any(|f| f == expected), "{expected} not among {found:?}");
        }
    }

    #[test]
    fn an_open_sale_may_grow_but_nothing_agreed_may_be_taken_away() {
        type Spoil = fn(&mut Terms);
        let agreed = terms();
        let mut grown = terms();
        grown.items[0].units = 15;
        grown.closes_at_ms = 9_000;
        assert!(broken(&grown, Some(&agreed), 1_500).is_empty());

        let cases: &[(Spoil, &str)] = &[
            (|t| t.items[0].units = 9, "items[0].units not-fewer"),
            (|t| t.items[0].units = 16, "items[0].units within-stock"),
            (|t| t.items[0].price = 499, "items[0].price fixed"),
            (|t| t.items[0].per_buyer_limit = 2, "items[0].per_buyer_limit fixed"),
            (|t| t.items[0].sku = "PEN".into(), "items none-removed"),
            (|t| t.opens_at_ms = 1_100, "opens_at fixed-once-open"),
            (|t| t.closes_at_ms = 1_900, "closes_at not-earlier-once-open"),
            (|t| t.payment_seconds = 61, "payment_seconds fixed"),
            (|t| t.name = "autumn".into(), "name fixed"),
        ];
        for (spoil, expected) in cases {
            let mut spoiled = terms();
            spoil(&mut spoiled);
            let found = broken(&spoiled, Some(&agreed), 1_500);
            assert!(found.iter().any(|f| f == expected), "{expected} not among {found:?}");
        }
    }

    #[test]
    fn promises_stay_in_their_currency_when_the_catalog_changes_its_own_s9() {
        let mut catalog = catalog();
        let mug = catalog.get_mut("MUG").unwrap();
        mug.currency = "USD".into();
        let rules = |terms: &Terms, agreed: Option<&Terms>| -> Vec<&'static str> {
            check(terms, &catalog, agreed, 1_500).into_iter().map(|broken| broken.rule).collect()
        };
        let mut longer = terms();
        longer.closes_at_ms = 9_000;
        assert!(rules(&longer, Some(&terms())).is_empty(), "the sale goes on");
        let mut more = terms();
        more.items[0].units = 15;
        assert_eq!(rules(&more, Some(&terms())), ["same-as-catalog"], "more units cost dollars now");
        assert_eq!(rules(&terms(), None), ["same-as-catalog"]);
    }

    #[test]
    fn a_sale_that_has_not_opened_may_still_move() {
        let mut moved = terms();
        (moved.opens_at_ms, moved.closes_at_ms) = (1_200, 1_900);
        assert!(broken(&moved, Some(&terms()), 500).is_empty());
    }

    #[test]
    fn a_sale_that_is_over_stays_over() {
        for over in [SaleState::Closed, SaleState::Cancelled, SaleState::ClosedOut] {
            assert_eq!(Action::Suspend.on(over, true), Err(SaleOver(over)));
            assert_eq!(Action::Resume.on(over, true), Err(SaleOver(over)));
            assert!(Action::Close.on(over, true).unwrap().is_over());
        }
        assert_eq!(Action::Cancel.on(SaleState::Closed, true), Ok(SaleState::Cancelled));
        assert_eq!(Action::Cancel.on(SaleState::ClosedOut, true), Ok(SaleState::ClosedOut));
    }

    #[test]
    fn resuming_does_not_make_an_unverified_sale_ready() {
        assert_eq!(Action::Resume.on(SaleState::Suspended, false), Ok(SaleState::Loading));
        assert_eq!(Action::Resume.on(SaleState::Suspended, true), Ok(SaleState::Ready));
    }
}
