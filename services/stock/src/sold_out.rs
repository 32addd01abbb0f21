//! What this replica believes to be sold out.
//!
//! Once a sale is sold out, most requests are refusals, and they have to be cheap. A mark says "Redis told us
//! a moment ago that nothing is left of this SKU". We believe it for a second at most, and drop it when this
//! replica puts units back or loads more. We notice another replica's restock when the mark grows old.
//!
//! A mark alone must not refuse. The request may repeat one that got the last unit, through any replica, and
//! the same key has to find its order (invariant I6). Only Redis knows whether it accepted a key. So while a
//! mark is fresh, the coalescer asks for just that, with one read for all waiting requests (`HMGET` of their
//! keys: no function, no write, no fsync). It refuses those whose key is unknown; the others take the usual
//! way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::id::SaleId;

/// Shared by the clones of one client.
#[derive(Clone, Debug, Default)]
pub(crate) struct SoldOutMarks(Arc<Mutex<HashMap<SaleId, Marks>>>);

#[derive(Debug, Default)]
struct Marks {
    /// Counts restocks, so that an answer from before a restock cannot set a mark after it.
    restocks: u64,
    since: HashMap<String, Instant>,
}

impl SoldOutMarks {
    /// Read this before asking Redis, and pass it to [`Self::set`] with the answer.
    pub(crate) fn restocks(&self, sale: SaleId) -> u64 {
        self.lock().get(&sale).map_or(0, |marks| marks.restocks)
    }

    /// Notes that Redis had nothing left of this SKU when asked. `restocks` is the count from before that.
    pub(crate) fn set(&self, sale: SaleId, sku: &str, restocks: u64) {
        let mut sales = self.lock();
        let marks = sales.entry(sale).or_default();
        if marks.restocks == restocks {
            marks.since.insert(sku.to_owned(), Instant::now());
        }
    }

    /// Whether this SKU was sold out less than `max_age` ago.
    pub(crate) fn is_fresh(&self, sale: SaleId, sku: &str, max_age: Duration) -> bool {
        self.lock()
            .get(&sale)
            .and_then(|marks| marks.since.get(sku))
            .is_some_and(|since| since.elapsed() < max_age)
    }

    /// Units of this sale came back or were added.
    pub(crate) fn clear(&self, sale: SaleId) {
        let mut sales = self.lock();
        let marks = sales.entry(sale).or_default();
        marks.restocks += 1;
        marks.since.clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SaleId, Marks>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const SALE: SaleId = SaleId(Uuid::nil());
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_mark_is_believed_until_it_is_old() {
        let marks = SoldOutMarks::default();
        marks.set(SALE, "a", 0);
        assert!(marks.is_fresh(SALE, "a", SECOND));
        assert!(!marks.is_fresh(SALE, "a", Duration::ZERO));
        assert!(!marks.is_fresh(SALE, "b", SECOND));
    }

    #[test]
    fn a_restock_clears_the_mark() {
        let marks = SoldOutMarks::default();
        marks.set(SALE, "a", 0);
        marks.clear(SALE);
        assert!(!marks.is_fresh(SALE, "a", SECOND));
    }

    #[test]
    fn an_answer_from_before_a_restock_sets_no_mark_after_it() {
        let marks = SoldOutMarks::default();
        let asked_at = marks.restocks(SALE);
        marks.clear(SALE);
        marks.set(SALE, "a", asked_at);
        assert!(!marks.is_fresh(SALE, "a", SECOND));
    }
}
