//! The order service's tables.
//!
//! [`write`] writes [`orders`], [`returns`] and [`ledger`] together, a batch at a time. The internal API
//! writes [`sales`] and the allocation of stock. The worker writes [`skus`] and [`heirs`] from `products`
//! events. Whoever keeps the shelves of the ordinary stock writes [`standing`]; the buyer writes [`cart`]
//! and [`checkouts`]; whoever reports what can be had writes [`levels`]. [`trust`] says whether we trust
//! Redis, [`parked`] keeps what waits for that, and [`rebuild`] is what Redis is rebuilt from. [`waiting`]
//! keeps what came before the units it needs. Rows are always locked in the order of their keys, so that
//! concurrent batches queue and do not deadlock.

pub mod books;
pub mod cart;
pub mod checkouts;
pub mod clock;
pub mod heirs;
pub mod ledger;
pub mod levels;
pub mod orders;
mod outcome;
pub mod parked;
pub mod rebuild;
pub mod returns;
pub mod sales;
pub mod skus;
pub mod standing;
pub mod trust;
pub mod waiting;

pub use outcome::{told, write};

/// A column holds a value that this version does not know.
pub(crate) fn unreadable(column: &'static str, value: &str) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: format!("unknown value `{value}`").into() }
}

/// Whether PostgreSQL refused a write because it breaks a rule of the tables. Trying the same again cannot
/// help.
pub fn is_violation(error: &sqlx::Error) -> bool {
    // class 22: data exception, class 23: integrity constraint violation
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}

/// Whether a sale had fewer units left than somebody took from it.
pub fn is_shortage(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::constraint)
        .is_some_and(|broken| broken == "ledger_remaining_not_negative")
}

/// One column of many rows, as `unnest` wants it.
pub(crate) fn column<'a, T, C>(rows: &'a [T], of: impl Fn(&'a T) -> C) -> Vec<C> {
    rows.iter().map(of).collect()
}
