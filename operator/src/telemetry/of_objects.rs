//! Gauges of single objects. They go when their object goes.
//!
//! The process' recorder keeps a gauge for its whole life, so an alert on a deleted sale would never end.
//! That is why we keep these gauges here and render them beside the others.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{DIFFERENCES, DRIFT};

/// Namespace and name.
type Sale = (String, String);

static SALES: Mutex<BTreeMap<Sale, Books>> = Mutex::new(BTreeMap::new());

/// What is wrong with a sale's books.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Books {
    /// Units that are nowhere or counted twice.
    pub drift: i64,
    /// Differences between Redis and PostgreSQL that the order service reports.
    pub differences: usize,
}

/// Sets the gauges of a sale.
pub fn set(namespace: &str, sale: &str, books: Books) {
    sales().insert((namespace.to_owned(), sale.to_owned()), books);
}

/// The sale is no more.
pub fn forget(namespace: &str, sale: &str) {
    sales().remove(&(namespace.to_owned(), sale.to_owned()));
}

fn sales() -> MutexGuard<'static, BTreeMap<Sale, Books>> {
    SALES.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn render() -> String {
    let sales = sales().clone();
    let gauge = |name: &str, help: &str, value: &dyn Fn(&Books) -> String| {
        let mut text = format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
        for ((namespace, sale), books) in &sales {
            // Object names have no character that would need escaping.
            _ = writeln!(text, "{name}{{namespace=\"{namespace}\",sale=\"{sale}\"}} {}", value(books));
        }
        text
    };
    gauge(DRIFT, "Units of a sale that are nowhere or counted twice", &|books| books.drift.to_string())
        + &gauge(DIFFERENCES, "Differences between Redis and PostgreSQL", &|books| {
            books.differences.to_string()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// K15
    #[test]
    fn a_sale_is_measured_until_it_is_gone() {
        set("mart", "measured", Books { drift: 2, differences: 1 });
        let seen = render();
        assert!(seen.contains("invariant_drift_units{namespace=\"mart\",sale=\"measured\"} 2\n"), "{seen}");
        assert!(seen.contains("sale_differences{namespace=\"mart\",sale=\"measured\"} 1\n"), "{seen}");
        forget("mart", "measured");
        assert!(!render().contains("measured"));
    }
}
