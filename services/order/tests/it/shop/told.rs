//! What the order service told the others, as they would read it in Kafka.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::{Delivery, HandleError, Handler};
use serde_json::Value;

use super::eventually;

/// What the order service told the others.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Vec<Event>>>);

#[async_trait]
impl Handler for Told {
    async fn handle(&self, batch: &[Delivery]) -> Result<(), HandleError> {
        let events = batch.iter().map(|delivery| delivery.event.clone());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(events);
        Ok(())
    }
}

impl Told {
    /// The data of the events of this type about this order.
    pub fn of(&self, event_type: &str, order: &str) -> Vec<Value> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = HashSet::new();
        told.iter()
            .filter(|event| {
                event.event_type == event_type && event.key == order && seen.insert(event.id.clone())
            })
            .map(|event| event.parse().unwrap())
            .collect()
    }

    /// Waits until it was told this many times.
    pub async fn until(&self, event_type: &str, order: &str, times: usize) -> Vec<Value> {
        eventually(&format!("{event_type} of {order}"), async || self.of(event_type, order).len() == times)
            .await;
        self.of(event_type, order)
    }
}
