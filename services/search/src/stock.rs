//! What can be bought: products as their sellers describe them, and how many units are left according to
//! order.
//!
//! ```text
//!   `products` ─────▶ Stock ──▶ index
//!   `stock-levels` ──▶  │  (a product is indexed again when it is sold out or available again)
//! ```
//!
//! The two topics are read side by side, so either may mention a SKU first. Until order has mentioned one,
//! its seller's quantity stands for what is left.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use async_trait::async_trait;
use rocketmart_contracts::event::{Payload as _, StockLevel};
use rocketmart_kit::kafka::{Delivery, HandleError, Handler};
use uuid::Uuid;

use crate::index::{Change, ProductIndex};
use crate::product::ProductSnapshot;

pub(crate) struct Stock {
    index: Arc<ProductIndex>,
    known: Mutex<Known>,
}

/// Held while the index is written, so that the index has what was known last.
#[derive(Default)]
struct Known {
    /// The products that can be found.
    products: HashMap<Uuid, ProductSnapshot>,
    levels: HashMap<String, StockLevel>,
}

impl Stock {
    pub(crate) fn new(index: Arc<ProductIndex>) -> Self {
        Self { index, known: Mutex::default() }
    }

    /// Applies changes of products; when it returns they can be found.
    pub(crate) fn follow(&self, mut changes: Vec<Change>) -> tantivy::Result<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for change in &mut changes {
            match change {
                Change::Put(product) => known.put(product),
                Change::Remove(product_id) => drop(known.products.remove(product_id)),
            }
        }
        self.index.apply(&changes)
    }

    /// Applies levels. Only products that are now sold out, or available again, are indexed again.
    fn follow_levels(&self, levels: Vec<StockLevel>) -> tantivy::Result<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let changed: BTreeSet<Uuid> = levels.into_iter().filter_map(|level| known.level(level)).collect();
        let changes: Vec<Change> = changed
            .iter()
            .filter_map(|product_id| known.products.get(product_id))
            .map(|product| Change::Put(Box::new(product.clone())))
            .collect();
        if changes.is_empty() { Ok(()) } else { self.index.apply(&changes) }
    }
}

impl Known {
    /// Adds a product to what is known, and sets how much of it is left.
    fn put(&mut self, product: &mut ProductSnapshot) {
        for variant in &mut product.variants {
            let level = self.levels.get(&variant.sku);
            if let Some(level) = level.filter(|level| level.product_id == product.product_id) {
                variant.quantity = level.available;
            }
        }
        if product.is_searchable() {
            self.products.insert(product.product_id, product.clone());
        } else {
            self.products.remove(&product.product_id);
        }
    }

    /// Notes a level; returns the product that it makes available or sold out.
    fn level(&mut self, level: StockLevel) -> Option<Uuid> {
        if self.levels.get(&level.sku).is_some_and(|known| known.version >= level.version) {
            return None;
        }
        let product = self.products.get_mut(&level.product_id);
        let changed = product.and_then(|product| {
            let before = product.in_stock();
            let variant = product.variants.iter_mut().find(|variant| variant.sku == level.sku)?;
            variant.quantity = level.available;
            (product.in_stock() != before).then_some(level.product_id)
        });
        self.levels.insert(level.sku.clone(), level);
        changed
    }
}

/// The handler that follows the levels.
pub(crate) struct Levels(pub(crate) Arc<Stock>);

#[async_trait]
impl Handler for Levels {
    async fn handle(&self, batch: &[Delivery]) -> Result<(), HandleError> {
        let known =
            batch.iter().enumerate().filter(|(_, delivery)| delivery.event.event_type == StockLevel::TYPE);
        let levels = known
            .filter(|(_, delivery)| !delivery.event.is_tombstone())
            .map(|(index, delivery)| {
                delivery.event.parse().map_err(|error| HandleError::Poison { index, error })
            })
            .collect::<Result<Vec<StockLevel>, _>>()?;
        let stock = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || stock.follow_levels(levels))
            .await
            .context("indexing panicked")?
            .context("cannot write to the index")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::index::Request;

    fn product(id: Uuid, quantity: i64) -> Change {
        let product = json!({
            "product_id": id, "state": "published", "title": "Mug", "description": "", "currency": "KRW",
            "variants": [{ "sku": "MUG", "price": 1, "quantity": quantity }], "updated_at": "2026-01-01T00:00:00Z",
        });
        Change::Put(Box::new(serde_json::from_value(product).unwrap()))
    }

    fn level(product_id: Uuid, available: i64, version: i64) -> StockLevel {
        StockLevel { sku: "MUG".into(), product_id, available, version }
    }

    fn in_stock(stock: &Stock) -> bool {
        let request = Request { limit: 10, ..Request::default() };
        stock.index.search(&request).unwrap().hits[0].in_stock
    }

    #[test]
    fn what_is_sold_out_is_not_in_stock_whatever_its_seller_supplied_s4() {
        let stock = Stock::new(Arc::new(ProductIndex::in_memory().unwrap()));
        let (mug, another) = (Uuid::now_v7(), Uuid::now_v7());
        stock.follow(vec![product(mug, 2)]).unwrap();
        assert!(in_stock(&stock), "nothing is known yet but what its seller says");
        stock.follow_levels(vec![level(mug, 0, 2)]).unwrap();
        assert!(!in_stock(&stock));
        stock.follow_levels(vec![level(mug, 2, 1)]).unwrap();
        assert!(!in_stock(&stock), "an older level is no news");
        stock.follow(vec![product(mug, 9)]).unwrap();
        assert!(!in_stock(&stock), "an edit makes none");
        stock.follow_levels(vec![level(mug, 1, 3)]).unwrap();
        assert!(in_stock(&stock));
        stock.follow_levels(vec![level(another, 0, 4)]).unwrap();
        assert!(in_stock(&stock), "another product's level is none of its own");
        stock.follow(vec![Change::Remove(mug), product(another, 5)]).unwrap();
        assert!(!in_stock(&stock), "the level was there first");
    }
}
