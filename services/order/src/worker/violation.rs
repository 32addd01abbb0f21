//! What the books refuse: events that break a rule of the tables.

use crate::store;

/// Whether the event broke a rule, so that trying the same again cannot help.
pub(super) fn is_violation(error: &anyhow::Error) -> bool {
    error.downcast_ref::<sqlx::Error>().is_some_and(|error| {
        // A missing ledger row breaks the rules as much as one that would go negative.
        store::is_violation(error) || matches!(error, sqlx::Error::RowNotFound)
    })
}

/// Whether the ledger had fewer units than were reserved. This is the one rule that may hold a moment
/// later.
pub(super) fn is_shortage(error: &anyhow::Error) -> bool {
    error.downcast_ref::<sqlx::Error>().is_some_and(store::is_shortage)
}
