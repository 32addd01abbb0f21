//! What must never be: units sold twice, orders lost, money taken twice. And what may be gone: orders that a
//! shopper was told of just before Redis lost its volume.

use std::collections::{BTreeSet, HashMap};

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::units_of;
use crate::{books::Books, history::Told};

/// An answer reaches the shopper so long after Redis has given it.
const ANSWERED_WITHIN: Duration = Duration::seconds(1);

/// Units of paid orders beyond those that were put on sale.
pub fn oversold(books: &Books) -> i64 {
    let paid = units_of(books.orders.values().filter(|order| order.was_paid()));
    paid.iter()
        .map(|(sku, units)| (units - books.ledger.get(sku).map_or(0, |item| item.preloaded)).max(0))
        .sum()
}

/// Orders that a shopper was given a 2xx for and that PostgreSQL does not know, without those that are
/// known to be [`gone`].
pub fn lost(history: &[Told], books: &Books) -> Vec<Uuid> {
    let accepted: BTreeSet<Uuid> = history.iter().filter_map(Told::accepted).collect();
    let gone = gone(history, books);
    accepted.into_iter().filter(|order| !books.orders.contains_key(order) && !gone.contains(order)).collect()
}

/// Orders that were acknowledged just before Redis lost its volume, at a time that the rebuild of the sale
/// names as unknown, and that no book has.
pub fn gone(history: &[Told], books: &Books) -> BTreeSet<Uuid> {
    let accepted = history.iter().filter(|told| is_unknown(told, books)).filter_map(Told::accepted);
    accepted.filter(|order| !books.orders.contains_key(order)).collect()
}

/// Whether an answer was given when Redis was about to lose what it said.
pub(super) fn is_unknown(told: &Told, books: &Books) -> bool {
    let Ok(ended) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(told.ended_us) * 1_000) else {
        return false;
    };
    books.unknown.iter().any(|(from, until)| *from <= ended && ended <= *until + ANSWERED_WITHIN)
}

/// Orders that more was taken for than they cost, refunds deducted.
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
