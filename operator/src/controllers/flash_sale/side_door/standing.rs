//! What the order service says of a sale and of SKUs, in its own words.

use rocketmart_crds::flash_sale::ItemStatus;
use serde::Deserialize;

/// State of a sale in the order service.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Loading,
    Ready,
    Suspended,
    Closed,
    Cancelled,
    ClosedOut,
}

/// How a sale stands, by the order service.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Standing {
    pub state: State,
    /// Redis was read just now and holds what SQL promises.
    pub verified: bool,
    /// Redis' clock, Unix milliseconds.
    pub now_ms: i64,
    pub opens_at_ms: i64,
    pub closes_at_ms: i64,
    /// By Redis.
    pub items: Vec<Item>,
    /// By SQL.
    pub ledger: Vec<Item>,
    pub outstanding: Outstanding,
    pub differences: Vec<Discrepancy>,
    /// The last time that Redis lost the sale and it was rebuilt.
    #[serde(default)]
    pub rebuilt: Option<Rebuilt>,
}

/// What came of a rebuild.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Rebuilt {
    /// What Redis had lost, in words.
    pub reason: String,
    pub rebuilt_at: String,
    pub orders: i64,
    /// Payments that waited for it.
    pub parked: i64,
    /// Purchases that Redis acknowledged in between and that are not among the orders are unknown.
    pub unknown_from: String,
    pub unknown_until: String,
    /// Those of them that arrived when it was too late.
    pub late_reservations: i64,
}

/// Where the units of one SKU are.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Item {
    pub sku: String,
    pub preloaded: i64,
    pub remaining: i64,
    pub reserved: i64,
    pub sold: i64,
}

/// What is still on its way; all zero means drained.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct Outstanding {
    pub reservations: i64,
    pub stream_entries: i64,
    pub outbox: i64,
    pub payments_pending: i64,
}

/// A disagreement, as the order service words it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Discrepancy {
    pub kind: String,
    #[serde(default)]
    pub order_id: Option<String>,
    #[serde(default)]
    pub sku: Option<String>,
    pub detail: String,
}

/// What the catalog has published of the SKUs of a sale; those it has never published are left out.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct Catalogue {
    pub skus: Vec<KnownSku>,
}

/// A SKU as the catalog published it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct KnownSku {
    pub sku: String,
    /// Whether its product is published now.
    pub published: bool,
    /// ISO 4217.
    pub currency: String,
    /// Units that no sale has been allotted.
    pub available: i64,
}

impl Item {
    /// In the words of a status.
    pub fn status(&self) -> ItemStatus {
        ItemStatus {
            sku: self.sku.clone(),
            preloaded: self.preloaded,
            remaining: self.remaining,
            reserved: self.reserved,
            sold: self.sold,
        }
    }
}
