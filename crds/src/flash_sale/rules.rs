//! CEL: what a time is, and what may change about a sale, depending on its phase.
//!
//! Times are strings in the schema, not `date-time`: CEL would read such a field before any rule of ours is
//! asked, and refuse in its own words what it cannot read; and the API server takes years and fractions that
//! nobody who reads the sale later can. So a rule says which times there are, and the others read one only
//! if it is one.
//!
//! The rules about changes compare the object before (`oldSelf`) and after (`self`). The guard looks at the
//! phase before the change, which a writer of the spec cannot influence.

use rocketmart_contracts::currency::Currency;

/// From the pre-load on: buyers have been, or are about to be, promised these terms.
const LOADED: &str = "['Preloading', 'Ready', 'Open', 'SoldOut', 'Draining', 'Paused']";
const ENDED: &str = "['Closed', 'Cancelled']";

/// RFC 3339 with capital letters, of this century, on a day that there is, to the nanosecond.
const TIME: &str = "^(20[0-9]{2}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)\
                    |02-(0[1-9]|1[0-9]|2[0-8]))|20([02468][048]|[13579][26])-02-29)\
                    T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$";

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
pub(super) const DEADLINE_STAYS: &str =
    "self.spec.paymentDeadlineSeconds == oldSelf.spec.paymentDeadlineSeconds";
pub(super) const LEAD_STAYS: &str = "self.spec.preloadLeadSeconds == oldSelf.spec.preloadLeadSeconds";

/// What a sale that no longer sells could still be asked for, and would not do.
const SELLING_STAYS: &str = "self.spec.items == oldSelf.spec.items && self.spec.closesAt == oldSelf.spec.closesAt \
                             && self.spec.suspend == oldSelf.spec.suspend";

/// The field is a time.
pub(super) fn is_a_time() -> String {
    format!("self.matches('{TIME}')")
}

/// It is two times, the second at least a second after the first.
pub(super) fn closes_after_it_opens() -> String {
    let rule = "timestamp(self.closesAt) >= timestamp(self.opensAt) + duration('1s')";
    if_times(&["self.opensAt", "self.closesAt"], rule)
}

pub(super) fn opening_stays() -> String {
    let times = ["self.spec.opensAt", "oldSelf.spec.opensAt"];
    if_times(&times, "timestamp(self.spec.opensAt) == timestamp(oldSelf.spec.opensAt)")
}

pub(super) fn closing_moves_later() -> String {
    let times = ["self.spec.closesAt", "oldSelf.spec.closesAt"];
    if_times(&times, "timestamp(self.spec.closesAt) >= timestamp(oldSelf.spec.closesAt)")
}

/// A sale that was ended by hand sells no more, whether or not that was noticed yet.
pub(super) fn once_selling_has_ended() -> String {
    let drains = "has(oldSelf.status) && has(oldSelf.status.phase) && oldSelf.status.phase == 'Draining'";
    format!("!(self.spec.closeEarly || ({drains})) || ({SELLING_STAYS})")
}

/// Something else says of a field that it is no time.
fn if_times(fields: &[&str], rule: &str) -> String {
    let unread: Vec<_> = fields.iter().map(|field| format!("!{field}.matches('{TIME}')")).collect();
    format!("({} || {rule})", unread.join(" || "))
}

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
