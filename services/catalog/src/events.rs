//! What the catalog tells the rest of the shop: one event per change on the compacted topic
//! `products`, keyed by product, each with the whole product.

use std::collections::BTreeMap;

use rocketmart_contracts::component::Component;
pub(crate) use rocketmart_contracts::topic::{PRODUCTS, STOCK_LEVELS};
use rocketmart_kit::event::Event;
use rocketmart_kit::event_schema::{Published, Read};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::availability::StockLevel;
use crate::domain::{Product, State, Variant};

const SOURCE: &str = "/rocketmart/catalog";
pub(crate) const STOCK_LEVEL_CHANGED: &str = "rocketmart.stock.level_changed.v1";
const CHANGED: &str = "rocketmart.product.changed.v1";

#[derive(Serialize, ToSchema)]
struct ProductChanged<'a> {
    product_id: Uuid,
    seller_id: Uuid,
    version: i64,
    state: State,
    #[schema(min_length = 1, max_length = 200)]
    title: &'a str,
    #[schema(max_length = 10_000)]
    description: &'a str,
    /// ISO 4217.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: &'a str,
    #[schema(required = false, max_items = 8)]
    categories: &'a [String],
    #[schema(required = false, max_items = 20)]
    tags: &'a [String],
    /// Addresses of pictures (`http` or `https`); never fetched by the shop.
    #[schema(required = false, max_items = 12)]
    pictures: &'a [String],
    #[schema(min_items = 1, max_items = 100)]
    variants: Vec<VariantNow<'a>>,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Variant)]
struct VariantNow<'a> {
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    sku: &'a str,
    /// Minor units of the product's currency.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    price: i64,
    /// Units the seller has on hand: as counted last, and corrected by differences since.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    quantity: i64,
    /// What distinguishes it from its siblings, such as `{"colour": "blue"}`.
    #[schema(required = false)]
    options: &'a BTreeMap<String, String>,
    /// Of two products that had the SKU, the later has the greater number; missing while it is not held.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    claim: Option<i64>,
    /// The version in which the quantity was counted last. Between two counts it changes by differences.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    counted_in: Option<i64>,
}

impl<'a> VariantNow<'a> {
    fn of(variant: &'a Variant) -> Self {
        Self {
            sku: &variant.sku,
            price: variant.price,
            quantity: variant.quantity,
            options: &variant.options,
            claim: variant.claim,
            counted_in: variant.counted_in,
        }
    }
}

/// What the catalog writes, by type.
pub fn published() -> Vec<Published> {
    vec![Published::of::<ProductChanged<'_>>(CHANGED, PRODUCTS, "product id", Component::Catalog.as_str())]
}

/// What the catalog reads, by type.
pub fn read() -> Vec<Read> {
    vec![Read::of::<StockLevel>(STOCK_LEVEL_CHANGED, Component::Catalog.as_str())]
}

/// The product as it now is.
pub(crate) fn changed(product: &Product) -> Event {
    let content = &product.content;
    Event::new(
        SOURCE,
        CHANGED,
        product.id,
        &ProductChanged {
            product_id: product.id,
            seller_id: product.seller_id,
            version: product.version,
            state: product.state,
            title: &content.title,
            description: &content.description,
            currency: &content.currency,
            categories: &content.categories,
            tags: &content.tags,
            pictures: &content.pictures,
            variants: content.variants.iter().map(VariantNow::of).collect(),
            updated_at: product.updated_at,
        },
    )
}

/// The product is gone: after compaction nothing of it is left in the topic.
pub(crate) fn deleted(product_id: Uuid) -> Event {
    Event::tombstone(SOURCE, CHANGED, product_id)
}
