//! What the catalog tells the rest of the shop: one event per change on the compacted topic
//! `products`, keyed by product, each with the whole product.

use rocketmart_kit::event::Event;
use rocketmart_kit::event_schema::Published;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::{Content, Product, State};

pub(crate) const TOPIC: &str = "products";
const SOURCE: &str = "/rocketmart/catalog";
const CHANGED: &str = "rocketmart.product.changed.v1";

#[derive(Serialize, ToSchema)]
struct ProductChanged<'a> {
    product_id: Uuid,
    seller_id: Uuid,
    version: i64,
    state: State,
    #[serde(flatten)]
    content: &'a Content,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

/// What the catalog writes, by type.
pub fn published() -> Vec<Published> {
    vec![Published::of::<ProductChanged<'_>>(CHANGED, TOPIC, "product id", "catalog")]
}

/// The product as it now is.
pub(crate) fn changed(product: &Product) -> Event {
    Event::new(
        SOURCE,
        CHANGED,
        product.id,
        &ProductChanged {
            product_id: product.id,
            seller_id: product.seller_id,
            version: product.version,
            state: product.state,
            content: &product.content,
            updated_at: product.updated_at,
        },
    )
}

/// The product is gone: after compaction nothing of it is left in the topic.
pub(crate) fn deleted(product_id: Uuid) -> Event {
    Event::tombstone(SOURCE, CHANGED, product_id)
}
