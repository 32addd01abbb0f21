//! The close-out of a sale compares three books, order by order.
//!
//! Redis decided, SQL followed, and the payment service told us over Kafka what it charged. When the sale
//! is quiet, the three must say the same about every single order; totals alone could agree by accident.
//! [`compare`] names every difference it finds (invariants I1, I2, I4, I5 and I7).

mod books;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use rocketmart_contracts::internal_api::{Difference, DifferenceKind as Kind, Endings, ItemCount};
use uuid::Uuid;

use super::ledger::Counters;
use super::order::Line;
use super::state::OrderState;

pub use self::books::{Booked, Books, Charge, ChargeOutcome, Held, ItemBooks, Refund};

/// The most differences to report, chosen to fit into the `ConfigMap` that lists them; `differences_total`
/// counts all.
pub const MAX_DIFFERENCES: usize = 5_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Orders about which all books agree.
    pub matched: u64,
    pub endings: Endings,
    pub items: Vec<ItemCount>,
    /// At most [`MAX_DIFFERENCES`].
    pub differences: Vec<Difference>,
    pub differences_total: u64,
}

/// Compares the books.
pub fn compare(books: &Books) -> Comparison {
    let mut found = Found::default();
    let held: HashMap<Uuid, &Held> = books.redis.iter().map(|held| (held.order_id, held)).collect();
    let mut charges: HashMap<Uuid, Vec<&Charge>> = HashMap::new();
    for charge in &books.charges {
        charges.entry(charge.order_id).or_default().push(charge);
    }

    let mut matched = 0;
    let mut endings = Endings::default();
    let mut totals: BTreeMap<&str, Counters> = BTreeMap::new();
    let mut bought: HashMap<(Uuid, &str), i64> = HashMap::new();
    let mut known: HashSet<Uuid> = HashSet::with_capacity(books.orders.len());
    for order in &books.orders {
        known.insert(order.order_id);
        let before = found.total;
        match held.get(&order.order_id) {
            Some(held) => compare_with_redis(held, order, &mut found),
            None => {
                found.order(Kind::ReservationMissing, order.order_id, "SQL has this order, Redis does not");
            }
        }
        let charges = charges.remove(&order.order_id).unwrap_or_default();
        compare_with_charges(order, &charges, &mut found);
        count(order, &mut endings, &mut totals, &mut bought);
        matched += u64::from(found.total == before);
    }
    for held in books.redis.iter().filter(|held| !known.contains(&held.order_id)) {
        found.order(
            Kind::OrderMissing,
            held.order_id,
            format!("Redis has this order ({}), SQL does not", held.state),
        );
    }
    for charge in charges.into_values().flatten() {
        found.order(Kind::PaymentWithoutOrder, charge.order_id, format!("payment {}", charge.payment_id));
    }
    compare_items(&books.items, &totals, &mut found);
    check_limits(&books.items, &bought, &mut found);

    let items =
        books.items.iter().map(|item| ItemCount { sku: item.sku.clone(), units: item.ledger }).collect();
    Comparison { matched, endings, items, differences: found.differences, differences_total: found.total }
}

/// The state in which Redis should have this order: there, what was paid stays sold.
fn as_redis_knows(order: &Booked) -> OrderState {
    if order.was_paid { OrderState::Paid } else { order.state }
}

fn compare_with_redis(held: &Held, order: &Booked, found: &mut Found) {
    let id = order.order_id;
    if held.state == OrderState::Reserved && order.state == OrderState::Reserved {
        found.order(Kind::StillReserved, id, "neither paid nor released");
    }
    if held.state != as_redis_knows(order) {
        found.order(Kind::StateDiffers, id, format!("Redis: {}, SQL: {}", held.state, order.state));
    }
    if held.buyer_id != order.buyer_id {
        found.order(Kind::BuyerDiffers, id, format!("Redis: {}, SQL: {}", held.buyer_id, order.buyer_id));
    }
    if held.amount != order.amount || sorted(&held.lines) != sorted(&order.lines) {
        let detail =
            format!("Redis: {:?} = {}, SQL: {:?} = {}", held.lines, held.amount, order.lines, order.amount);
        found.order(Kind::ContentDiffers, id, detail);
    }
}

fn sorted(lines: &[Line]) -> Vec<&Line> {
    let mut lines: Vec<_> = lines.iter().collect();
    lines.sort_by(|a, b| a.sku.cmp(&b.sku));
    lines
}

fn compare_with_charges(order: &Booked, charges: &[&Charge], found: &mut Found) {
    let id = order.order_id;
    let kept: Vec<_> = charges.iter().filter(|charge| charge.net() != 0).collect();
    if kept.len() > 1 {
        found.order(Kind::ChargedTwice, id, format!("{} charges were kept", kept.len()));
    }
    // Money goes back for what was cancelled or returned; the rest of a paid order's money is kept.
    let owed = order.owed();
    match kept.as_slice() {
        [] if owed != 0 => {
            found.order(Kind::PaymentMissing, id, format!("{owed} are due, no successful charge was told"));
        }
        [_, ..] if owed == 0 => {
            let detail = format!("the order is {}, its charge was kept", order.state);
            found.order(Kind::PaymentNotRefunded, id, detail);
        }
        [charge] if charge.net() != owed => {
            let detail = format!("{} of {:?} kept, {owed} due", charge.net(), charge.amount);
            found.order(Kind::PaymentAmountDiffers, id, detail);
        }
        [charge] if order.payment_id != Some(charge.payment_id) => {
            let detail = format!("{:?} booked, {} told", order.payment_id, charge.payment_id);
            found.order(Kind::PaymentDiffers, id, detail);
        }
        _ => {}
    }
}

fn count<'a>(
    order: &'a Booked,
    endings: &mut Endings,
    totals: &mut BTreeMap<&'a str, Counters>,
    bought: &mut HashMap<(Uuid, &'a str), i64>,
) {
    match order.state {
        OrderState::Reserved => {}
        OrderState::Expired => endings.expired += 1,
        OrderState::Cancelled => endings.cancelled += 1,
        OrderState::PaymentFailed => endings.payment_failed += 1,
        _ => endings.paid += 1,
    }
    if !order.was_paid && order.state != OrderState::Reserved {
        return;
    }
    for line in &order.lines {
        let total = totals.entry(&line.sku).or_default();
        if order.was_paid {
            total.sold += line.quantity;
        } else {
            total.reserved += line.quantity;
        }
        *bought.entry((order.buyer_id, &line.sku)).or_default() += line.quantity;
    }
}

fn compare_items(items: &[ItemBooks], totals: &BTreeMap<&str, Counters>, found: &mut Found) {
    for item in items {
        let ledger = item.ledger;
        if !ledger.balanced() {
            found.sku(Kind::LedgerUnbalanced, &item.sku, format!("{ledger:?}"));
        }
        match item.redis {
            Some(redis) if !redis.balanced() => {
                found.sku(Kind::RedisUnbalanced, &item.sku, format!("{redis:?}"));
            }
            Some(redis) if redis != ledger => {
                found.sku(Kind::CountersDiffer, &item.sku, format!("Redis: {redis:?}, SQL: {ledger:?}"));
            }
            Some(_) => {}
            None => found.sku(Kind::SkuMissing, &item.sku, "Redis does not know this SKU"),
        }
        let orders = totals.get(item.sku.as_str()).copied().unwrap_or_default();
        if (orders.reserved, orders.sold) != (ledger.reserved, ledger.sold) {
            let detail =
                format!("orders: {} sold, {} reserved; ledger: {ledger:?}", orders.sold, orders.reserved);
            found.sku(Kind::OrdersDifferFromLedger, &item.sku, detail);
        }
    }
}

fn check_limits(items: &[ItemBooks], bought: &HashMap<(Uuid, &str), i64>, found: &mut Found) {
    let limits: HashMap<&str, i64> =
        items.iter().map(|item| (item.sku.as_str(), item.per_buyer_limit)).collect();
    for ((buyer, sku), units) in bought {
        if limits.get(sku).is_some_and(|limit| units > limit) {
            found.sku(Kind::LimitExceeded, sku, format!("buyer {buyer} holds {units}"));
        }
    }
}

#[derive(Default)]
struct Found {
    differences: Vec<Difference>,
    total: u64,
}

impl Found {
    fn order(&mut self, kind: Kind, order_id: Uuid, detail: impl Into<String>) {
        self.add(Difference { kind, order_id: Some(order_id), sku: None, detail: detail.into() });
    }

    fn sku(&mut self, kind: Kind, sku: &str, detail: impl Into<String>) {
        self.add(Difference { kind, order_id: None, sku: Some(sku.into()), detail: detail.into() });
    }

    fn add(&mut self, difference: Difference) {
        self.total += 1;
        if self.differences.len() < MAX_DIFFERENCES {
            self.differences.push(difference);
        }
    }
}
