//! What the catalog tells the rest of the shop: one event per change on the compacted topic
//! `products`, keyed by product, each with the whole product.

use rocketmart_contracts::component::Component;
use rocketmart_contracts::event::{self, Payload as _, ProductChanged, StockLevel};
pub(crate) use rocketmart_contracts::topic::{PRODUCTS, STOCK_LEVELS};
use rocketmart_kit::event::Event;
use rocketmart_kit::event_schema::{Published, Read};
use uuid::Uuid;

use crate::domain::{Product, Variant};

const SOURCE: &str = "/rocketmart/catalog";

/// What the catalog writes, by type.
pub fn published() -> Vec<Published> {
    vec![Published::of::<ProductChanged>()]
}

/// What the catalog reads, by type.
pub fn read() -> Vec<Read> {
    vec![Read::of::<StockLevel>(Component::Catalog)]
}

/// The product as it now is.
pub(crate) fn changed(product: &Product) -> Event {
    let content = product.content.clone();
    let data = ProductChanged {
        product_id: product.id,
        seller_id: product.seller_id,
        version: product.version,
        state: product.state,
        title: content.title,
        description: content.description,
        currency: content.currency,
        categories: content.categories,
        tags: content.tags,
        pictures: content.pictures,
        variants: content.variants.into_iter().map(variant).collect(),
        updated_at: product.updated_at,
    };
    Event::of(SOURCE, product.id, &data)
}

/// What can be had of it is for order to tell.
fn variant(variant: Variant) -> event::Variant {
    let Variant { sku, price, quantity, options, available: _, claim, counted_in } = variant;
    event::Variant { sku, price, quantity, options, claim, counted_in }
}

/// The product is gone: after compaction nothing of it is left in the topic.
pub(crate) fn deleted(product_id: Uuid) -> Event {
    Event::tombstone(SOURCE, ProductChanged::TYPE, product_id)
}
