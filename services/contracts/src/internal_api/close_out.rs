//! The books of a sale that is over, laid beside each other.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Difference, ItemCount};

/// What the comparison found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CloseOut {
    /// Orders about which Redis, SQL and the payments agree.
    pub matched: u64,
    pub orders: Endings,
    /// By the ledger, which Redis agrees with if there are no differences.
    pub items: Vec<ItemCount>,
    /// The first of them, as many as fit into the `ConfigMap` that lists them.
    pub differences: Vec<Difference>,
    pub differences_total: u64,
    /// When the books were signed off; missing if something differs.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none", default)]
    pub closed_out_at: Option<OffsetDateTime>,
}

/// Orders by how they ended. Orders under way to the buyer count as paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endings {
    pub paid: u64,
    pub expired: u64,
    pub cancelled: u64,
    pub payment_failed: u64,
}
