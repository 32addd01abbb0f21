//! How many units of each SKU can be had, as order-worker tells it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Payload;
use crate::component::Component;
use crate::topic;

/// How many units of a SKU can be had as ordinary stock: neither promised to a flash sale nor held by a buyer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StockLevel {
    pub sku: String,
    /// Whose the SKU is. What is told of another product's does not count.
    pub product_id: Uuid,
    #[schema(minimum = 0)]
    pub available: i64,
    /// Of two levels of a SKU the later has the greater.
    pub version: i64,
}

impl Payload for StockLevel {
    const TYPE: &'static str = "rocketmart.stock.level_changed.v1";
    const TOPIC: &'static str = topic::STOCK_LEVELS;
    const KEY: &'static str = "sku";
    const PRODUCER: Component = Component::OrderWorker;
}
