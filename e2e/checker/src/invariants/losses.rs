//! What must never happen: units sold twice, orders lost, money taken twice. And what may be gone: orders
//! that a shopper was told of just before Redis lost its volume.

use std::collections::{BTreeSet, HashMap};

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::units_of;
use crate::{books::Books, history::Told};

/// An answer reaches the shopper at most this long after Redis gave it.
const ANSWERED_WITHIN: Duration = Duration::seconds(1);

/// Units of paid orders beyond those that were put on sale.
pub fn oversold(books: &Books) -> i64 {
    let paid = units_of(books.orders.values().filter(|order| order.was_paid()));
    paid.iter()
        .map(|(sku, units)| (units - books.ledger.get(sku).map_or(0, |item| item.preloaded)).max(0))
        .sum()
}

/// Orders that a shopper got a 2xx for and that PostgreSQL does not know, without those that are [`gone`].
pub fn lost(history: &[Told], books: &Books) -> Vec<Uuid> {
    let accepted: BTreeSet<Uuid> = history.iter().filter_map(Told::accepted).collect();
    let gone = gone(history, books);
    accepted.into_iter().filter(|order| !books.orders.contains_key(order) && !gone.contains(order)).collect()
}

/// Orders that Redis acknowledged just before it lost its volume, in the time that the rebuild of the sale
/// calls unknown, and that are in no book.
pub fn gone(history: &[Told], books: &Books) -> BTreeSet<Uuid> {
    let accepted = history.iter().filter(|told| is_unknown(told, books)).filter_map(Told::accepted);
    accepted.filter(|order| !books.orders.contains_key(order)).collect()
}

/// Whether the answer came when Redis was about to forget it.
pub(super) fn is_unknown(told: &Told, books: &Books) -> bool {
    let Ok(ended) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(told.ended_us) * 1_000) else {
        return false;
    };
    books.unknown.iter().any(|(from, until)| *from <= ended && ended <= *until + ANSWERED_WITHIN)
}

/// Orders for which more was taken than they cost, net of refunds.
pub fn charged_twice(books: &Books) -> Vec<Uuid> {
    let mut net: HashMap<&str, i64> = HashMap::new();
    for charge in books.charges.iter().filter(|charge| charge.succeeded) {
        *net.entry(charge.reference.as_str()).or_default() += charge.amount - charge.refunded;
    }
    let orders = books.orders.iter();
    orders
        .filter(|(id, order)| net.get(id.to_string().as_str()).is_some_and(|net| *net > order.amount))
        .map(|(id, _)| *id)
        .collect()
}
