//! What the operator reports about a sale.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far a sale has come.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Phase {
    /// Waiting for the time to load stock.
    Scheduled,
    /// Stock is being loaded and verified.
    Preloading,
    /// Loaded and verified; opens by itself.
    Ready,
    /// Selling.
    Open,
    /// Selling, but everything is reserved or sold; units that come back go on sale again.
    SoldOut,
    /// No longer selling; reserved orders are being paid or expire.
    Draining,
    /// Over, and the books are closed.
    Closed,
    /// Selling is paused, by the seller or because the stock has to be verified again.
    Paused,
    /// Ended before its time; nothing was or will be sold any more.
    Cancelled,
    /// Cannot go on without a change; the condition `Ready` says why.
    Failed,
}

impl Phase {
    const ALL: [Self; 10] = [
        Self::Scheduled,
        Self::Preloading,
        Self::Ready,
        Self::Open,
        Self::SoldOut,
        Self::Draining,
        Self::Closed,
        Self::Paused,
        Self::Cancelled,
        Self::Failed,
    ];

    /// The phase that has this name.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.to_string() == word)
    }

    /// Whether nothing happens to the sale any more.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Cancelled)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The variants' names are the words of the API.
        fmt::Debug::fmt(self, f)
    }
}

/// The observed state of a sale.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FlashSaleStatus {
    /// How far the sale has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// Generation of the spec that the operator has acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`: the stock is loaded and verified, and the sale sells in its window by itself (phases `Ready`,
    /// `Open`, `SoldOut`); its reason is the phase, or, if something is wrong in whatever phase, what it is.
    /// `Open`: buyers can buy now; `Unknown` while the order service does not answer. `Preloaded`: the stock
    /// was loaded, read back and matches. `Reconciled`: the close-out found Redis, PostgreSQL and payments in
    /// agreement, or nothing was ever loaded. `Rebuilt`: Redis had lost the sale, and it was rebuilt from
    /// PostgreSQL; the message says what is unknown since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Where the units of each SKU are: preloaded = remaining + reserved + sold, at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["sku".into()]))]
    pub items: Vec<ItemStatus>,

    /// Sums over all items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,

    /// When each phase was entered, in order; a phase that was entered twice is listed twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phase_times: Vec<PhaseTime>,

    /// The close-out: what was sold, and whether the books agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<CloseOutReport>,

    /// Fencing token of the last command given to the shop. The order service refuses smaller ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<i64>,
}

/// Where the units of one SKU are.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemStatus {
    /// The SKU.
    #[schemars(length(max = 64))]
    pub sku: String,
    /// Units loaded for this sale.
    pub preloaded: i64,
    /// Units still to be had.
    pub remaining: i64,
    /// Units held by orders that are not paid yet.
    pub reserved: i64,
    /// Units of paid orders.
    pub sold: i64,
}

/// Sums over all items.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Units the spec puts on sale.
    pub units: i64,
    /// Units loaded.
    pub preloaded: i64,
    /// Units still to be had.
    pub remaining: i64,
    /// Units held by orders that are not paid yet.
    pub reserved: i64,
    /// Units of paid orders.
    pub sold: i64,
}

/// When a phase was entered.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseTime {
    /// The phase.
    pub phase: Phase,
    /// When the sale entered it.
    pub at: Time,
}

/// Result of comparing Redis, PostgreSQL and payments, order by order.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CloseOutReport {
    /// Orders on which all sides agree.
    pub matched: i64,

    /// Orders by how they ended.
    pub orders: OrderCounts,

    /// Final numbers of each SKU.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["sku".into()]))]
    pub items: Vec<ItemStatus>,

    /// The first differences found, if any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub differences: Vec<Difference>,

    /// Number of all differences found.
    #[serde(default)]
    pub differences_total: i64,

    /// `ConfigMap` with the whole list of differences, when there are more than are listed here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differences_config_map: Option<String>,

    /// When the books were closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_out_at: Option<Time>,
}

/// Orders of a sale by how they ended.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderCounts {
    /// Paid in time.
    pub paid: i64,
    /// Not paid by the deadline.
    pub expired: i64,
    /// Cancelled by the buyer.
    pub cancelled: i64,
    /// The provider declined.
    pub payment_failed: i64,
}

/// A disagreement between two of Redis, PostgreSQL and payments.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// What kind of disagreement, as a stable word.
    pub kind: String,
    /// The order concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// The SKU concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    /// Both sides' values.
    pub detail: String,
}
