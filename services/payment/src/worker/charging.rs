//! One attempt at one payment: charge, or find out how an earlier attempt ended.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::pipeline::Work;
use crate::domain::backoff::pause_after;
use crate::domain::payment::{DuePayment, Settlement, Step, reason};
use crate::provider::{ChargeOrder, PaymentProvider, ProviderError};
use crate::store::charging::{self, Postponed};

/// What a lease has beyond the provider's time-out, for writing the result.
const LEASE_MARGIN: Duration = Duration::from_secs(25);

pub(super) struct Charging {
    pool: PgPool,
    provider: Arc<dyn PaymentProvider>,
    lease: Duration,
}

impl Charging {
    pub(super) fn new(pool: PgPool, provider: Arc<dyn PaymentProvider>, timeout: Duration) -> Self {
        Self { pool, provider, lease: timeout + LEASE_MARGIN }
    }
}

pub(super) enum Attempt {
    Settled(Uuid, Settlement),
    Open(Postponed),
}

#[async_trait]
impl Work for Charging {
    const NAME: &'static str = "charging";
    type Item = (DuePayment, OffsetDateTime);
    type Done = Attempt;

    async fn claim(&self, limit: usize) -> sqlx::Result<Vec<Self::Item>> {
        charging::claim(&self.pool, limit, self.lease).await
    }

    async fn perform(&self, (payment, now): Self::Item) -> Attempt {
        attempt(&*self.provider, &payment, now).await
    }

    async fn record(&self, done: &[Attempt]) -> sqlx::Result<()> {
        let (mut settled, mut open) = (Vec::new(), Vec::new());
        for attempt in done {
            match attempt {
                Attempt::Settled(id, settlement) => settled.push((*id, settlement.clone())),
                Attempt::Open(postponed) => open.push(postponed.clone()),
            }
        }
        let mut tx = self.pool.begin().await?;
        charging::settle(&mut tx, &settled).await?;
        charging::postpone(&mut tx, &open).await?;
        tx.commit().await?;
        for attempt in done {
            metrics::counter!("payment_attempts_total", "outcome" => attempt.name()).increment(1);
        }
        Ok(())
    }
}

impl Attempt {
    fn name(&self) -> &'static str {
        match self {
            Self::Settled(_, Settlement::Charged { .. }) => "charged",
            Self::Settled(_, Settlement::Failed { .. }) => "failed",
            Self::Settled(_, Settlement::Voided { .. }) => "voided",
            Self::Open(Postponed { surely_unsent: true, .. }) => "unreachable",
            Self::Open(_) => "unknown",
        }
    }
}

async fn attempt(provider: &dyn PaymentProvider, payment: &DuePayment, now: OffsetDateTime) -> Attempt {
    let step = payment.step(now);
    let answer = match step {
        Step::Void => Ok(None),
        Step::Settle => provider.settle(payment.order_id).await,
        Step::Charge => {
            let order = ChargeOrder {
                idempotency_key: payment.id,
                reference: payment.order_id,
                token: payment.provider_token.clone(),
                amount: payment.amount,
                currency: payment.currency.clone(),
            };
            provider.charge(&order).await.map(Some)
        }
    };
    let settlement = match answer {
        Ok(Some(charge)) => charge.settlement(payment.void_reason()),
        Ok(None) => Settlement::Voided { reason: payment.void_reason().to_owned() },
        Err(ProviderError::Refused { code, message }) if step == Step::Charge => {
            tracing::warn!(payment_id = %payment.id, code, message, "the provider refused a charge");
            Settlement::Failed { reason: reason::PROVIDER_REFUSED.to_owned() }
        }
        Err(error) => {
            tracing::info!(payment_id = %payment.id, attempt = payment.attempt, %error, "payment still open");
            let surely_unsent = matches!(error, ProviderError::Unreachable(_)) && !payment.may_be_charged;
            return Attempt::Open(Postponed {
                payment_id: payment.id,
                attempt: payment.attempt,
                pause: pause_after(payment.attempt, rand::random()),
                surely_unsent,
            });
        }
    };
    Attempt::Settled(payment.id, settlement)
}
