//! Each product as it is now, as catalog tells it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Payload;
use crate::component::Component;
use crate::topic;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = State)]
pub enum ProductState {
    /// Seen by its seller only.
    Draft,
    /// Seen by everyone.
    Published,
    /// Was published; seen by its seller only.
    Withdrawn,
}

impl ProductState {
    pub const ALL: [Self; 3] = [Self::Draft, Self::Published, Self::Withdrawn];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Withdrawn => "withdrawn",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// The whole product at one version. A tombstone says that it is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProductChanged {
    pub product_id: Uuid,
    pub seller_id: Uuid,
    pub version: i64,
    pub state: ProductState,
    #[schema(min_length = 1, max_length = 200)]
    pub title: String,
    #[schema(max_length = 10_000)]
    pub description: String,
    /// ISO 4217.
    #[schema(pattern = "^[A-Z]{3}$")]
    pub currency: String,
    #[serde(default)]
    #[schema(required = false, max_items = 8)]
    pub categories: Vec<String>,
    #[serde(default)]
    #[schema(required = false, max_items = 20)]
    pub tags: Vec<String>,
    /// Addresses of pictures (`http` or `https`); never fetched by the shop.
    #[serde(default)]
    #[schema(required = false, max_items = 12)]
    pub pictures: Vec<String>,
    #[schema(min_items = 1, max_items = 100)]
    pub variants: Vec<Variant>,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

impl Payload for ProductChanged {
    const TYPE: &'static str = "rocketmart.product.changed.v1";
    const TOPIC: &'static str = topic::PRODUCTS;
    const KEY: &'static str = "product id";
    const PRODUCER: Component = Component::Catalog;
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Variant {
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    pub sku: String,
    /// Minor units of the product's currency.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    pub price: i64,
    /// Units the seller has on hand: as counted last, and corrected by differences since.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    pub quantity: i64,
    /// What distinguishes it from its siblings, such as `{"colour": "blue"}`.
    #[serde(default)]
    #[schema(required = false)]
    pub options: BTreeMap<String, String>,
    /// Of two products that had the SKU, the later has the greater number; missing while it is not held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub claim: Option<i64>,
    /// The version in which the quantity was counted last. Between two counts it changes by differences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub counted_in: Option<i64>,
}
