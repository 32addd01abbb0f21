//! SKUs as the catalog published them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Most SKUs in one question.
pub const MAX_SKUS: usize = 200;

/// What the catalog has published of the SKUs that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skus {
    pub skus: Vec<PublishedSku>,
    /// Those that the catalog has never published.
    #[serde(default)]
    pub unknown: Vec<String>,
}

/// A SKU as the catalog published it last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedSku {
    pub sku: String,
    /// Whether its product is published now, so that it may go on sale.
    pub published: bool,
    pub product_id: Uuid,
    pub seller_id: Uuid,
    pub title: String,
    /// Minor units of `currency`.
    pub price: i64,
    /// ISO 4217.
    pub currency: String,
    /// Units that no sale has been allotted.
    pub available: i64,
}
