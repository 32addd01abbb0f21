//! A variant as stores keep it: what its seller says, and what only the shop knows about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::Variant;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredVariant {
    sku: String,
    price: i64,
    quantity: i64,
    options: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claim: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counted_in: Option<i64>,
}

impl From<&Variant> for StoredVariant {
    fn from(variant: &Variant) -> Self {
        let Variant { sku, price, quantity, options, available: _, claim, counted_in } = variant.clone();
        Self { sku, price, quantity, options, claim, counted_in }
    }
}

impl From<StoredVariant> for Variant {
    fn from(stored: StoredVariant) -> Self {
        let StoredVariant { sku, price, quantity, options, claim, counted_in } = stored;
        Self { sku, price, quantity, options, available: None, claim, counted_in }
    }
}
