//! Paid orders become shipments, released ones are called off: one transaction per batch, each event
//! once.

use std::time::Duration;

use anyhow::ensure;
use async_trait::async_trait;
use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::{Delivery, HandleError, Handler};
use rocketmart_kit::outbox;
use sqlx::PgPool;
use uuid::Uuid;

use crate::events::{ORDER_PAID, ORDER_RELEASED, OrderPaid, OrderReleased};
use crate::store::shipments;

pub(super) struct Orders {
    pool: PgPool,
    first_look: Duration,
}

/// An event of interest, read and checked.
enum Told {
    Paid(OrderPaid),
    Released(Uuid),
}

impl Orders {
    pub(super) fn new(pool: PgPool, first_look: Duration) -> Self {
        Self { pool, first_look }
    }
}

#[async_trait]
impl Handler for Orders {
    async fn handle(&self, batch: &[Delivery]) -> Result<(), HandleError> {
        let mut told = Vec::with_capacity(batch.len());
        for (index, delivery) in batch.iter().enumerate() {
            let read = read(&delivery.event).map_err(|error| HandleError::Poison { index, error })?;
            told.extend(read.map(|read| (&delivery.event.id, read)));
        }
        if told.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = told.iter().map(|(id, _)| (*id).clone()).collect();
        let mut tx = self.pool.begin().await?;
        let new = outbox::inbox_filter(&mut tx, &ids).await?;
        let (mut paid, mut released) = (Vec::new(), Vec::new());
        for (id, told) in told {
            match told {
                _ if !new.contains(id) => {}
                Told::Paid(order) => paid.push(order),
                Told::Released(order) => released.push(order),
            }
        }
        // An order is paid before it is cancelled, so this order of work is theirs too.
        shipments::insert(&mut tx, &paid, self.first_look).await?;
        let cancelled = shipments::cancel(&mut tx, &released).await?;
        tx.commit().await?;
        metrics::counter!("delivery_shipments_total").increment(paid.len() as u64);
        metrics::counter!("delivery_shipments_cancelled_total").increment(cancelled);
        Ok(())
    }
}

/// `None` for the kinds of events that do not concern delivery.
fn read(event: &Event) -> anyhow::Result<Option<Told>> {
    Ok(match event.event_type.as_str() {
        ORDER_PAID => {
            let order: OrderPaid = event.parse()?;
            ensure!(!order.lines.is_empty(), "lines must not be empty");
            for line in &order.lines {
                ensure!(line.quantity > 0, "quantity of {:?} must be positive", line.sku);
                ensure!(!line.sku.contains('\0'), "sku {:?} must not contain NUL", line.sku);
            }
            Some(Told::Paid(OrderPaid { traceparent: event.traceparent.clone(), ..order }))
        }
        ORDER_RELEASED => Some(Told::Released(event.parse::<OrderReleased>()?.order_id)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paid(lines: serde_json::Value) -> Event {
        let id = Uuid::from_u128(1);
        let data = json!({"order_id": id, "buyer_id": id, "lines": lines, "amount": 1, "currency": "KRW"});
        Event::new("/rocketmart/order-worker", ORDER_PAID, id, &data)
    }

    #[test]
    fn an_order_with_nothing_to_ship_is_refused_by_name_of_the_field() {
        assert!(read(&paid(json!([{"sku": "A", "quantity": 1, "unit_price": 5}]))).unwrap().is_some());
        let table = [
            (json!([]), "lines"),
            (json!([{"sku": "A", "quantity": 0}]), "quantity"),
            (json!([{"sku": "A\u{0}", "quantity": 1}]), "sku"),
        ];
        for (lines, field) in table {
            let error = read(&paid(lines)).err().unwrap();
            assert!(error.to_string().contains(field), "{error}");
        }
    }
}
