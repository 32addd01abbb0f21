//! CEL: what may change about a sale, depending on its phase.
//!
//! The conditions compare the object before (`oldSelf`) and after (`self`). The guard looks at the
//! phase before the change, which a writer of the spec cannot influence.

use rocketmart_contracts::currency::Currency;

/// From the pre-load on: buyers have been, or are about to be, promised these terms.
const LOADED: &str = "['Preloading', 'Ready', 'Open', 'SoldOut', 'Draining', 'Paused']";
const ENDED: &str = "['Closed', 'Cancelled']";

pub(super) const NO_ITEM_LEAVES: &str =
    "oldSelf.spec.items.all(old, self.spec.items.exists(new, new.sku == old.sku))";
pub(super) const NO_ITEM_JOINS: &str =
    "self.spec.items.all(new, oldSelf.spec.items.exists(old, new.sku == old.sku))";
/// Units that were asked for and never loaded, because there are not so many, can be taken back.
pub(super) const UNITS_GROW: &str = "self.spec.items.all(new, oldSelf.spec.items.all(old, \
                                     new.sku != old.sku || new.units >= old.units) || \
                                     (has(oldSelf.status.items) && oldSelf.status.items.exists(held, \
                                     held.sku == new.sku && held.preloaded <= new.units)))";
pub(super) const PRICE_STAYS: &str =
    "self.spec.items.all(new, oldSelf.spec.items.all(old, new.sku != old.sku || new.price == old.price))";
pub(super) const LIMIT_STAYS: &str = "self.spec.items.all(new, oldSelf.spec.items.all(old, \
                                      new.sku != old.sku || new.perBuyerLimit == old.perBuyerLimit))";
pub(super) const CURRENCY_STAYS: &str = "self.spec.currency == oldSelf.spec.currency";
pub(super) const OPENING_STAYS: &str = "self.spec.opensAt == oldSelf.spec.opensAt";
pub(super) const CLOSING_MOVES_LATER: &str = "self.spec.closesAt >= oldSelf.spec.closesAt";
pub(super) const DEADLINE_STAYS: &str =
    "self.spec.paymentDeadlineSeconds == oldSelf.spec.paymentDeadlineSeconds";

/// `rule` holds for changes of a sale whose stock is loaded.
pub(super) fn once_loaded(rule: &str) -> String {
    guarded(LOADED, rule)
}

/// `rule` holds for changes of a sale that is over.
pub(super) fn once_ended(rule: &str) -> String {
    guarded(ENDED, rule)
}

/// `self` is the code of a currency that people pay with.
pub(super) fn currency_in_use() -> String {
    let codes: Vec<String> = Currency::all().map(|currency| format!("'{currency}'")).collect();
    format!("self in [{}]", codes.join(", "))
}

fn guarded(phases: &str, rule: &str) -> String {
    format!(
        "!has(oldSelf.status) || !has(oldSelf.status.phase) || !(oldSelf.status.phase in {phases}) || {rule}"
    )
}
