//! Paid orders become shipments; shipments are called off or cancelled in time; goods come back. One
//! transaction per batch, each event once.

use std::time::Duration;

use anyhow::ensure;
use async_trait::async_trait;
use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::{Delivery, HandleError, Handler};
use rocketmart_kit::outbox;
use sqlx::PgPool;
use uuid::Uuid;

use crate::domain::shipment::Line;
use crate::events::{
    CANCEL_REQUESTED, CancelRequested, ORDER_PAID, ORDER_RELEASED, OrderPaid, OrderReleased,
    RETURN_REQUESTED, ReturnRequested,
};
use crate::store::{returns, shipments};

pub(super) struct Orders {
    pool: PgPool,
    first_look: Duration,
}

/// An event of interest, read and checked.
enum Told {
    Paid(OrderPaid),
    Released(Uuid),
    CancelRequested(CancelRequested),
    ReturnRequested(ReturnRequested),
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
            told.extend(read.map(|read| (index, read)));
        }
        if told.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = told.iter().map(|(index, _)| batch[*index].event.id.clone()).collect();
        let mut tx = self.pool.begin().await?;
        let mut new = outbox::inbox_filter(&mut tx, &ids).await?;
        let (mut paid, mut released, mut cancels, mut asked_back) = (vec![], vec![], vec![], vec![]);
        for (index, told) in told {
            match told {
                // Removed, so that an event counts only once if it comes twice in one batch.
                _ if !new.remove(&batch[index].event.id) => {}
                Told::Paid(order) => paid.push(order),
                Told::Released(order) => released.push(order),
                Told::CancelRequested(request) => cancels.push(request),
                Told::ReturnRequested(request) => asked_back.push((index, request)),
            }
        }
        // An order is paid before it is cancelled, so we work in the same sequence.
        shipments::insert(&mut tx, &paid, self.first_look).await?;
        let called_off = shipments::call_off(&mut tx, &released).await?;
        let cancelled = shipments::cancel(&mut tx, &cancels).await?;
        for (index, request) in &asked_back {
            returns::insert(&mut tx, request, self.first_look)
                .await?
                .map_err(|error| HandleError::Poison { index: *index, error })?;
        }
        tx.commit().await?;
        metrics::counter!("delivery_shipments_total").increment(paid.len() as u64);
        metrics::counter!("delivery_shipments_cancelled_total").increment(called_off + cancelled);
        metrics::counter!("delivery_cancellations_refused_total")
            .increment((cancels.len() as u64).saturating_sub(cancelled));
        metrics::counter!("delivery_returns_total").increment(asked_back.len() as u64);
        Ok(())
    }
}

/// `None` for the kinds of events that do not concern delivery.
fn read(event: &Event) -> anyhow::Result<Option<Told>> {
    Ok(match event.event_type.as_str() {
        ORDER_PAID => {
            let order: OrderPaid = event.parse()?;
            check_lines(&order.lines)?;
            Some(Told::Paid(OrderPaid { traceparent: event.traceparent.clone(), ..order }))
        }
        ORDER_RELEASED => Some(Told::Released(event.parse::<OrderReleased>()?.order_id)),
        CANCEL_REQUESTED => {
            let request: CancelRequested = event.parse()?;
            Some(Told::CancelRequested(CancelRequested { traceparent: event.traceparent.clone(), ..request }))
        }
        RETURN_REQUESTED => {
            let request: ReturnRequested = event.parse()?;
            check_lines(&request.lines)?;
            ensure!(!request.reason.contains('\0'), "reason must not contain NUL");
            Some(Told::ReturnRequested(ReturnRequested { traceparent: event.traceparent.clone(), ..request }))
        }
        _ => None,
    })
}

fn check_lines(lines: &[Line]) -> anyhow::Result<()> {
    ensure!(!lines.is_empty(), "lines must not be empty");
    for line in lines {
        ensure!(line.quantity > 0, "quantity of {:?} must be positive", line.sku);
        ensure!(!line.sku.contains('\0'), "sku {:?} must not contain NUL", line.sku);
    }
    Ok(())
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
