//! How many units of each SKU are available, as order reports in the compacted topic `stock-levels`.
//!
//! Each replica reads the whole topic on start and follows it, so the catalog stores nothing of it. A product
//! then shows what is left beside what its seller has supplied. Until order has reported a SKU, we show
//! nothing for it.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;
use rocketmart_contracts::event::{Payload as _, StockLevel};
use rocketmart_kit::kafka::{Delivery, HandleError, Handler};

use crate::domain::Product;

/// The latest level of each SKU.
#[derive(Debug, Default)]
pub struct Availability(RwLock<HashMap<String, StockLevel>>);

impl Availability {
    /// The product, with what is left of it.
    pub(crate) fn of(&self, mut product: Product) -> Product {
        let levels = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for variant in &mut product.content.variants {
            let level = levels.get(&variant.sku).filter(|level| level.product_id == product.id);
            variant.available = level.map(|level| level.available);
        }
        product
    }

    fn follow(&self, level: StockLevel) {
        let mut levels = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if levels.get(&level.sku).is_none_or(|known| known.version < level.version) {
            levels.insert(level.sku.clone(), level);
        }
    }
}

#[async_trait]
impl Handler for Availability {
    async fn handle(&self, batch: &[Delivery]) -> Result<(), HandleError> {
        for (index, delivery) in batch.iter().enumerate() {
            if delivery.event.event_type == StockLevel::TYPE && !delivery.event.is_tombstone() {
                let level = delivery.event.parse().map_err(|error| HandleError::Poison { index, error })?;
                self.follow(level);
            }
        }
        Ok(())
    }
}
