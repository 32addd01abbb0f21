//! What orders ask of payments, handled in batches: one transaction per batch, each event once.

use std::sync::Arc;

use anyhow::ensure;
use async_trait::async_trait;
use rocketmart_contracts::event::{OfOrder, OrderReleased, Payload as _, PaymentRequested, RefundRequested};
use rocketmart_kit::event::{Event, Inbound};
use rocketmart_kit::kafka::{Delivery, HandleError, Handler};
use rocketmart_kit::outbox;
use sqlx::PgPool;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::store::intake;
use crate::store::refund_requests::{self, RefundIntake};

pub(super) struct Orders {
    pool: PgPool,
    charges_due: Arc<Notify>,
    refunds_due: Arc<Notify>,
}

/// An event of interest, read and checked.
enum Asked {
    Payment(Inbound<PaymentRequested>),
    Release(Uuid),
    Refund(Inbound<RefundRequested>),
}

impl Orders {
    pub(super) fn new(pool: PgPool, charges_due: Arc<Notify>, refunds_due: Arc<Notify>) -> Self {
        Self { pool, charges_due, refunds_due }
    }
}

#[async_trait]
impl Handler for Orders {
    async fn handle(&self, batch: &[Delivery]) -> Result<(), HandleError> {
        let mut asked = Vec::with_capacity(batch.len());
        for (index, delivery) in batch.iter().enumerate() {
            let read = read(&delivery.event).map_err(|error| HandleError::Poison { index, error })?;
            asked.extend(read.map(|read| (index, read)));
        }
        let ids: Vec<String> = asked.iter().map(|(index, _)| batch[*index].event.id.clone()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let mut tx = self.pool.begin().await?;
        let mut new = outbox::inbox_filter(&mut tx, &ids).await?;

        let (mut payments, mut releases, mut refunds) = (Vec::new(), Vec::new(), Vec::new());
        for (index, asked) in asked {
            // Removed, so that the first one counts if an event comes twice in one batch. After a restore the
            // order asks for its payment once more, behind the request that the provider may have seen.
            if !new.remove(&batch[index].event.id) {
                continue;
            }
            match asked {
                Asked::Payment(request) => payments.push(request),
                Asked::Release(order) => releases.push(order),
                Asked::Refund(request) => refunds.push((index, request)),
            }
        }
        // An order asks for its payment before it is released, so we work in the same sequence.
        intake::insert_payments(&mut tx, &payments).await?;
        intake::release(&mut tx, &releases).await?;
        for (index, request) in &refunds {
            let id = &batch[*index].event.id;
            match refund_requests::take(&mut tx, id, request).await? {
                RefundIntake::Accepted => {}
                RefundIntake::Reduced => {
                    tracing::warn!(order_id = %request.order_id, event = id, "refund of what is left");
                }
                RefundIntake::Repeated => {
                    metrics::counter!("payment_refunds_ignored_total").increment(1);
                    tracing::warn!(order_id = %request.order_id, event = id, "refund asked for again");
                }
                RefundIntake::Exceeds => {
                    metrics::counter!("payment_refund_attempts_total", "outcome" => "exceeds").increment(1);
                    tracing::warn!(order_id = %request.order_id, event = id, "refund of more than is left");
                }
                RefundIntake::NotCharged => {
                    let error = anyhow::anyhow!(
                        "order {} has no succeeded payment {} in {} to refund",
                        request.order_id,
                        request.payment_id,
                        request.currency
                    );
                    return Err(HandleError::Poison { index: *index, error });
                }
            }
        }
        tx.commit().await?;

        if !payments.is_empty() {
            self.charges_due.notify_one();
        }
        if !refunds.is_empty() {
            self.refunds_due.notify_one();
        }
        Ok(())
    }
}

/// `None` for the kinds of events that do not concern payments.
fn read(event: &Event) -> anyhow::Result<Option<Asked>> {
    Ok(match event.event_type.as_str() {
        PaymentRequested::TYPE => {
            let request: Inbound<PaymentRequested> = event.inbound()?;
            check_money(request.amount, &request.currency)?;
            ensure!(request.attempt() > 0, "attempt must be 1 or more: {}", request.attempt());
            Some(Asked::Payment(request))
        }
        OrderReleased::TYPE => Some(Asked::Release(event.parse::<OfOrder>()?.order_id)),
        RefundRequested::TYPE => {
            let request: Inbound<RefundRequested> = event.inbound()?;
            check_money(request.amount, &request.currency)?;
            ensure!(!request.reason.contains('\0'), "reason must not contain NUL");
            Some(Asked::Refund(request))
        }
        _ => None,
    })
}

fn check_money(amount: i64, currency: &str) -> anyhow::Result<()> {
    ensure!(amount >= 0, "amount must not be negative: {amount}");
    ensure!(
        currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_uppercase()),
        "currency must be an ISO 4217 code: {currency:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn requested(amount: i64, currency: &str) -> Event {
        let id = Uuid::from_u128(1);
        let data = json!({"order_id": id, "sale_id": id, "buyer_id": id, "amount": amount,
                          "currency": currency, "pay_by_ms": 0});
        Event::new("/rocketmart/order-worker", PaymentRequested::TYPE, id, &data)
    }

    #[test]
    fn an_event_that_makes_no_sense_is_refused_by_name_of_the_field() {
        assert!(read(&requested(1, "KRW")).unwrap().is_some());
        for (event, field) in [(requested(-1, "KRW"), "amount"), (requested(1, "won"), "currency")] {
            let error = read(&event).err().unwrap();
            assert!(error.to_string().contains(field), "{error}");
        }
    }

    #[test]
    fn a_release_for_a_reason_that_is_yet_to_come_is_understood() {
        let order = Uuid::now_v7();
        let event = Event::new(
            "/test",
            OrderReleased::TYPE,
            order,
            &json!({"order_id": order, "reason": "recalled"}),
        );
        assert!(matches!(read(&event), Ok(Some(Asked::Release(released))) if released == order));
    }

    #[test]
    fn events_of_no_concern_are_passed_over() {
        let event = Event::new("/rocketmart/order-worker", "rocketmart.order.paid.v1", 1, &json!({}));
        assert!(read(&event).unwrap().is_none());
    }
}
