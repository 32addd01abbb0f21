//! The invariants I1–I7 of a sale. Each is a pure comparison that lists what it found wrong.

mod losses;
mod unknowns;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use uuid::Uuid;

use losses::is_unknown;
pub use losses::{charged_twice, gone, lost, oversold};
pub use unknowns::{Unknowns, unknowns};

use crate::{
    books::{Books, Charge, Order},
    history::Told,
};

/// A report lists this many findings per invariant; it counts all of them.
const LISTED: usize = 20;

/// One invariant: what it compared, and what differs.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    pub compared: String,
    /// Number of findings.
    pub difference: usize,
    /// The first findings.
    pub findings: Vec<String>,
}

impl Verdict {
    fn new(compared: String, findings: Vec<String>) -> Self {
        Self { compared, difference: findings.len(), findings: findings.into_iter().take(LISTED).collect() }
    }
}

/// All seven, by name.
pub fn all(history: &[Told], books: &Books) -> BTreeMap<&'static str, Verdict> {
    BTreeMap::from([
        ("I1", conservation(books)),
        ("I2", no_oversell(books)),
        ("I3", nothing_lost(history, books)),
        ("I4", one_net_charge(history, books)),
        ("I5", buyer_limit(books)),
        ("I6", idempotency(history, books)),
        ("I7", stores_agree(history, books)),
    ])
}

/// I1: preloaded = remaining + reserved + sold, in both stores and by the sum of the orders.
fn conservation(books: &Books) -> Verdict {
    let mut findings = Vec::new();
    let held = units_of(books.orders.values().filter(|order| order.state == "reserved"));
    let sold = units_of(books.orders.values().filter(|order| order.was_paid()));
    for (store, items) in [("Redis", &books.counters), ("the ledger", &books.ledger)] {
        for (sku, item) in items {
            if item.preloaded != item.remaining + item.reserved + item.sold {
                findings.push(format!("{store}: {sku} does not add up: {item:?}"));
            }
            let (reserved_by_orders, sold_by_orders) =
                (held.get(sku).copied().unwrap_or(0), sold.get(sku).copied().unwrap_or(0));
            if item.reserved != reserved_by_orders || item.sold != sold_by_orders {
                findings.push(format!(
                    "{store}: {sku} has {} reserved and {} sold, the orders {reserved_by_orders} and {sold_by_orders}",
                    item.reserved, item.sold
                ));
            }
        }
    }
    if books.ledger.is_empty() {
        findings.push("the ledger has no item of this sale".to_owned());
    }
    Verdict::new(
        format!("{} SKU(s) in Redis, ledger and {} orders", books.ledger.len(), books.orders.len()),
        findings,
    )
}

/// I2: nothing below zero, not more sold than loaded.
fn no_oversell(books: &Books) -> Verdict {
    let mut findings = Vec::new();
    for (store, items) in [("Redis", &books.counters), ("the ledger", &books.ledger)] {
        for (sku, item) in items {
            if item.remaining < 0 || item.reserved < 0 || item.sold > item.preloaded {
                findings.push(format!("{store}: {sku}: {item:?}"));
            }
        }
    }
    if oversold(books) > 0 {
        findings.push(format!("{} units are paid for beyond those on sale", oversold(books)));
    }
    Verdict::new("remaining, reserved and sold of each SKU; units of paid orders".to_owned(), findings)
}

/// A declined card is an answer too; without another card the order ends at its deadline. A payment database
/// that came back from a backup may have lost that answer, but Kafka still has it.
fn was_declined(order: &Uuid, books: &Books) -> bool {
    books.payments.get(order).is_some_and(|payment| payment.state == "failed")
        || books.declined_events.contains(order)
}

/// I3: every purchase answered 2xx reached a final state.
fn nothing_lost(history: &[Told], books: &Books) -> Verdict {
    let accepted: BTreeSet<Uuid> = history.iter().filter_map(Told::accepted).collect();
    let mut findings: Vec<String> = lost(history, books)
        .into_iter()
        .map(|order| format!("order {order} was accepted and is lost"))
        .collect();
    findings.extend(
        books
            .orders
            .iter()
            .filter(|(_, order)| !order.is_paid() && !order.is_released())
            .map(|(id, order)| format!("order {id} is still {}", order.state)),
    );
    let submitted = history.iter().filter(|told| !is_unknown(told, books));
    let submitted: BTreeSet<Uuid> = submitted.filter_map(Told::submitted).collect();
    findings.extend(
        submitted
            .iter()
            .filter(|id| books.orders.get(id).is_some_and(|order| order.state == "expired"))
            .filter(|id| !was_declined(id, books))
            .map(|id| format!("order {id} expired although its payment had been accepted")),
    );
    findings.extend(too_early(history, books));
    Verdict::new(
        format!(
            "{} accepted orders and {} accepted payments of the history with PostgreSQL",
            accepted.len(),
            submitted.len()
        ),
        findings,
    )
}

/// Whatever a clock says, nothing is sold before the sale opens and nothing expires before its deadline.
fn too_early(history: &[Told], books: &Books) -> Vec<String> {
    let opens_us =
        books.opens_at.map_or(0, |at| i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or(0));
    let early_sales = history
        .iter()
        .filter(|told| told.ended_us > 0 && told.ended_us < opens_us)
        .filter_map(Told::accepted)
        .map(|order| format!("order {order} was accepted before the sale opened"));
    let early_ends = books
        .orders
        .iter()
        .filter(|(_, order)| {
            order.state == "expired"
                && order.pay_by.zip(order.released_at).is_some_and(|(pay_by, released)| released < pay_by)
        })
        .map(|(id, _)| format!("order {id} expired before its deadline"));
    early_sales.chain(early_ends).collect()
}

/// I4: at most one net charge per order, for what the buyer kept of it, and none for an order that is gone
/// with Redis; delivered implies paid; released implies not paid.
fn one_net_charge(history: &[Told], books: &Books) -> Verdict {
    let mut charges: HashMap<&str, Vec<&Charge>> = HashMap::new();
    for charge in books.charges.iter().filter(|charge| charge.succeeded) {
        charges.entry(charge.reference.as_str()).or_default().push(charge);
    }
    let mut findings = Vec::new();
    let mut compared = 0;
    for id in gone(history, books) {
        if let Some(charges) = charges.get(id.to_string().as_str()) {
            findings.push(format!("order {id} is in no book and the provider has {charges:?}"));
        }
    }
    for (id, order) in &books.orders {
        let of_order = charges.remove(id.to_string().as_str()).unwrap_or_default();
        compared += of_order.len();
        let net: Vec<i64> =
            of_order.iter().map(|charge| charge.amount - charge.refunded).filter(|left| *left != 0).collect();
        let kept = match (order.was_paid(), order.is_given_back()) {
            (true, false) => order.amount - order.refunded,
            _ => 0,
        };
        let wanted: &[i64] = if kept == 0 { &[] } else { &[kept] };
        if net != wanted {
            findings.push(format!(
                "order {id} is {} and the provider holds {net:?}, not {wanted:?}",
                order.state
            ));
        }
        if let Some(shipment) = books.shipments.get(id) {
            if !order.was_paid() {
                findings.push(format!("order {id} is {} and has a shipment", order.state));
            } else if order.state == "cancelled" && shipment != "cancelled" {
                findings.push(format!("order {id} is cancelled and its shipment {shipment}"));
            }
        }
    }
    Verdict::new(format!("{} orders with {compared} charges of the provider", books.orders.len()), findings)
}

/// I5: no buyer holds more than the limit.
fn buyer_limit(books: &Books) -> Verdict {
    let mut held: HashMap<(Uuid, &str), i64> = HashMap::new();
    for order in books.orders.values().filter(|order| !order.is_released()) {
        for (sku, units) in &order.units {
            *held.entry((order.buyer, sku)).or_default() += units;
        }
    }
    let findings = held
        .iter()
        .filter(|((_, sku), units)| books.limits.get(*sku).is_some_and(|limit| *units > limit))
        .map(|((buyer, sku), units)| {
            format!("buyer {buyer} holds {units} of {sku}, the limit is {}", books.limits[*sku])
        })
        .collect();
    Verdict::new(format!("units of {} buyers with the limits", held.len()), findings)
}

/// I6: one key, one order, both in the answers and in what Redis remembers.
fn idempotency(history: &[Told], books: &Books) -> Verdict {
    let gone = gone(history, books);
    let mut answered: HashMap<(Uuid, Uuid), BTreeSet<Uuid>> = HashMap::new();
    for told in history {
        if let (Some(order), Some(key)) = (told.accepted().filter(|order| !gone.contains(order)), told.key) {
            answered.entry((told.buyer, key)).or_default().insert(order);
        }
    }
    let mut findings = Vec::new();
    let mut key_of_order: HashMap<Uuid, Uuid> = HashMap::new();
    for ((buyer, key), orders) in &answered {
        if orders.len() > 1 {
            findings.push(format!("key {key} of buyer {buyer} was answered with {} orders", orders.len()));
        }
        for order in orders {
            if key_of_order.insert(*order, *key).is_some_and(|other| other != *key) {
                findings.push(format!("order {order} was given for two keys"));
            }
            let remembered = books.keys.get(&(*buyer, key.to_string()));
            if remembered != Some(order) {
                findings
                    .push(format!("key {key}: the shopper was told {order}, Redis remembers {remembered:?}"));
            }
        }
    }
    Verdict::new(format!("{} keys of the history with Redis", answered.len()), findings)
}

/// I7: Redis, Kafka and PostgreSQL agree, order by order.
fn stores_agree(history: &[Told], books: &Books) -> Verdict {
    let gone = gone(history, books);
    let mut findings = Vec::new();
    for (id, reservation) in &books.reservations {
        match books.orders.get(id) {
            None => findings.push(format!("reservation {id} is in Redis only")),
            Some(order) if !same_state(&reservation.state, order) => {
                findings.push(format!(
                    "order {id} is {} in Redis, {} in PostgreSQL",
                    reservation.state, order.state
                ));
            }
            Some(order) if (reservation.buyer, &reservation.units) != (order.buyer, &order.units) => {
                findings.push(format!("order {id} has another buyer or other lines in Redis and PostgreSQL"));
            }
            Some(_) => {}
        }
    }
    for (id, order) in &books.orders {
        if !books.reservations.contains_key(id) {
            findings.push(format!("order {id} is in PostgreSQL only"));
        }
        if !books.kafka_was_emptied && !books.reserved_events.contains(id) {
            findings.push(format!("order {id} has no event in Kafka"));
        }
        let payment = books.payments.get(id);
        let succeeded = payment.is_some_and(|payment| payment.state == "succeeded");
        // An order may end before its money comes. That money goes back whole, and no order mentions it.
        let agrees = match payment.filter(|_| succeeded) {
            Some(payment) if order.was_paid() => payment.refunded == order.refunded,
            Some(payment) => payment.refunded == payment.amount,
            None => !order.was_paid(),
        };
        if !agrees {
            findings.push(format!(
                "order {id} is {} with {} refunded, its payment {payment:?}",
                order.state, order.refunded
            ));
        }
        if !books.kafka_was_emptied && succeeded != books.succeeded_events.contains(id) {
            findings.push(format!("order {id}: payment and its event in Kafka disagree"));
        }
        if order.is_paid() && !books.shipments.contains_key(id) {
            findings.push(format!("order {id} is {} and has no shipment", order.state));
        }
    }
    findings.extend(
        books
            .reserved_events
            .iter()
            .filter(|id| !books.orders.contains_key(id) && !gone.contains(id))
            .map(|id| format!("order {id} is in Kafka only")),
    );
    // What is in Kafka has left Redis, so it is not gone with Redis, unless it left too late.
    let told = gone.iter().filter(|id| books.reserved_events.contains(id)).count();
    if i64::try_from(told).unwrap_or(i64::MAX) > books.late {
        findings.push(format!(
            "{told} orders that were acknowledged are in Kafka only, {} of them were too late",
            books.late
        ));
    }
    Verdict::new(
        format!(
            "{} reservations, {} orders, {} events, {} payments, {} shipments",
            books.reservations.len(),
            books.orders.len(),
            books.reserved_events.len(),
            books.payments.len(),
            books.shipments.len()
        ),
        findings,
    )
}

fn same_state(in_redis: &str, order: &Order) -> bool {
    match in_redis {
        "reserved" | "submitted" => order.state == "reserved",
        "confirmed" => order.was_paid(),
        released => order.state == released && !order.was_paid(),
    }
}

fn units_of<'a>(orders: impl Iterator<Item = &'a Order>) -> BTreeMap<String, i64> {
    let mut units = BTreeMap::new();
    for (sku, quantity) in orders.flat_map(|order| &order.units) {
        *units.entry(sku.clone()).or_default() += quantity;
    }
    units
}

#[cfg(test)]
mod tests;
