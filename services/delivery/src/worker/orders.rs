//! Paid orders become shipments; shipments are called off or cancelled in time; goods come back. One
//! transaction per batch, each event once.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use rocketmart_contracts::event::{
    CancelRequested, OfOrder, OrderPaid, OrderReleased, Payload as _, ReturnRequested,
};
use rocketmart_kit::event::{Event, Inbound};
use rocketmart_kit::kafka::{Delivery, HandleError, Handler};
use rocketmart_kit::outbox;
use sqlx::PgPool;
use uuid::Uuid;

use crate::domain::shipment::Line;
use crate::store::returns;
use crate::store::shipments::{self, ToShip};

pub(super) struct Orders {
    pool: PgPool,
    first_look: Duration,
}

/// An event of interest, read and checked.
enum Told {
    Paid(ToShip),
    Released(Uuid),
    CancelRequested(Inbound<CancelRequested>),
    /// With what is to come back.
    ReturnRequested(Inbound<ReturnRequested>, Vec<Line>),
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
                Told::ReturnRequested(request, lines) => asked_back.push((index, request, lines)),
            }
        }
        // An order is paid before it is cancelled, so we work in the same sequence.
        shipments::insert(&mut tx, &paid, self.first_look).await?;
        let called_off = shipments::call_off(&mut tx, &released).await?;
        let cancelled = shipments::cancel(&mut tx, &cancels).await?;
        for (index, request, lines) in &asked_back {
            returns::insert(&mut tx, request, lines, self.first_look)
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
        OrderPaid::TYPE => {
            let order: Inbound<OrderPaid> = event.inbound()?;
            let lines = parcel(order.lines.iter().map(|line| (line.sku.as_str(), line.quantity)))?;
            Some(Told::Paid(ToShip { order, lines }))
        }
        OrderReleased::TYPE => Some(Told::Released(event.parse::<OfOrder>()?.order_id)),
        CancelRequested::TYPE => Some(Told::CancelRequested(event.inbound()?)),
        ReturnRequested::TYPE => {
            let request: Inbound<ReturnRequested> = event.inbound()?;
            let lines = parcel(request.lines.iter().map(|units| (units.sku.as_str(), units.quantity)))?;
            ensure!(!request.reason.contains('\0'), "reason must not contain NUL");
            Some(Told::ReturnRequested(request, lines))
        }
        _ => None,
    })
}

/// What these units, each a SKU and its quantity, are as a parcel.
fn parcel<'a>(units: impl Iterator<Item = (&'a str, i64)>) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (sku, quantity) in units {
        let quantity = u32::try_from(quantity).ok().filter(|quantity| *quantity > 0);
        let quantity =
            quantity.with_context(|| format!("quantity of {sku:?} must be from 1 to {}", u32::MAX))?;
        ensure!(!sku.contains('\0'), "sku {sku:?} must not contain NUL");
        lines.push(Line { sku: sku.to_owned(), quantity });
    }
    ensure!(!lines.is_empty(), "lines must not be empty");
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paid(lines: serde_json::Value) -> Event {
        let id = Uuid::from_u128(1);
        let data = json!({"order_id": id, "sale_id": id, "buyer_id": id, "lines": lines, "amount": 1,
                          "currency": "KRW", "payment_id": id, "paid_at_ms": 0});
        Event::new("/rocketmart/order-worker", OrderPaid::TYPE, id, &data)
    }

    #[test]
    fn an_order_with_nothing_to_ship_is_refused_by_name_of_the_field() {
        assert!(read(&paid(json!([{"sku": "A", "quantity": 1, "unit_price": 5}]))).unwrap().is_some());
        let table = [
            (json!([]), "lines"),
            (json!([{"sku": "A", "quantity": 0, "unit_price": 5}]), "quantity"),
            (json!([{"sku": "A\u{0}", "quantity": 1, "unit_price": 5}]), "sku"),
        ];
        for (lines, field) in table {
            let error = read(&paid(lines)).err().unwrap();
            assert!(error.to_string().contains(field), "{error}");
        }
    }
}
