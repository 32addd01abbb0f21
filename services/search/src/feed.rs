//! From the topic into the index.
//!
//! A batch of events is one commit of the index, so a backlog is processed in large steps and a single change
//! within milliseconds. The last event of a product wins. The topic keeps each product's events in order, and
//! applying one again changes nothing. Once the backlog is done, we measure how long each change took from
//! its event's time until it could be found.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use async_trait::async_trait;
use rocketmart_contracts::component::Component;
use rocketmart_contracts::event::{Payload as _, ProductChanged, StockLevel};
use rocketmart_kit::event::Event;
use rocketmart_kit::event_schema::Read;
use rocketmart_kit::kafka::{Delivery, HandleError, Handler};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::index::{Change, ProductIndex};
use crate::product::ProductSnapshot;
use crate::stock::Stock;

/// The topics that search reads, by type.
pub fn read() -> Vec<Read> {
    let search = Component::Search;
    vec![Read::part_of::<ProductChanged, ProductSnapshot>(search), Read::of::<StockLevel>(search)]
}

pub(crate) struct Feed {
    index: Arc<ProductIndex>,
    stock: Arc<Stock>,
    caught_up: AtomicBool,
}

impl Feed {
    pub(crate) fn new(index: Arc<ProductIndex>, stock: Arc<Stock>) -> Self {
        Self { index, stock, caught_up: AtomicBool::new(false) }
    }

    /// Everything that was in the topic at the start can be found now.
    pub(crate) fn catch_up(&self) {
        tracing::info!(products = self.index.product_count(), "the index is complete");
        self.caught_up.store(true, Ordering::Release);
    }

    pub(crate) fn is_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }
}

#[async_trait]
impl Handler for Feed {
    async fn handle(&self, batch: &[Delivery]) -> Result<(), HandleError> {
        let mut changes = Vec::with_capacity(batch.len());
        for (index, delivery) in batch.iter().enumerate() {
            match change(&delivery.event) {
                Ok(Some(change)) => changes.push(change),
                Ok(None) => {}
                Err(error) => return Err(HandleError::Poison { index, error }),
            }
        }
        let stock = Arc::clone(&self.stock);
        tokio::task::spawn_blocking(move || stock.follow(changes))
            .await
            .context("indexing panicked")?
            .context("cannot write to the index")?;
        if self.is_caught_up() {
            record_freshness(batch);
        }
        #[expect(clippy::cast_precision_loss, reason = "a count beyond 2^52 is not told apart")]
        metrics::gauge!("search_products").set(self.index.product_count() as f64);
        Ok(())
    }
}

/// What an event does to the index; `None` for kinds of events that this version does not know.
fn change(event: &Event) -> anyhow::Result<Option<Change>> {
    if event.is_tombstone() {
        let product_id: Uuid = event.key.parse().context("the key of a tombstone is no product id")?;
        return Ok(Some(Change::Remove(product_id)));
    }
    if event.event_type != ProductChanged::TYPE {
        return Ok(None);
    }
    Ok(Some(Change::Put(Box::new(event.parse::<ProductSnapshot>()?))))
}

fn record_freshness(batch: &[Delivery]) {
    let now = OffsetDateTime::now_utc();
    for delivery in batch {
        let age = (now - delivery.event.time).as_seconds_f64().max(0.0);
        metrics::histogram!("search_freshness_seconds").record(age);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_understood_when_the_product_has_fields_not_known_here() {
        let id = Uuid::now_v7();
        let product = json!({
            "product_id": id, "seller_id": id, "version": 1, "state": "archived", "title": "t", "description": "",
            "currency": "KRW", "variants": [], "updated_at": "2026-01-01T00:00:00Z", "colour": "blue",
        });
        let Ok(Some(Change::Put(product))) = change(&Event::new("/test", ProductChanged::TYPE, id, &product))
        else {
            panic!("not understood")
        };
        assert!(!product.is_searchable(), "a state not known here is not for sale");
    }

    #[test]
    fn a_tombstone_removes_and_other_kinds_of_events_are_passed_over() {
        let id = Uuid::now_v7();
        let removed = change(&Event::tombstone("/test", ProductChanged::TYPE, id)).unwrap();
        assert!(matches!(removed, Some(Change::Remove(gone)) if gone == id));
        assert!(change(&Event::new("/test", "rocketmart.product.praised.v1", id, &1)).unwrap().is_none());
        assert!(change(&Event::new("/test", ProductChanged::TYPE, id, &1)).is_err());
    }
}
