//! One attempt at one refund. The provider's key is the refund's id, so repeating it is always safe. A refund
//! has no deadline.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgPool;

use super::pipeline::Work;
use crate::domain::backoff::pause_after;
use crate::provider::{EXCEEDS_CHARGE, KEY_REUSED, PaymentProvider, ProviderError};
use crate::store::refunding::{self, DueRefund, RefundResult};

/// A lease is this much longer than the provider's time-out, to leave time for writing the result.
const LEASE_MARGIN: Duration = Duration::from_secs(25);

pub(super) struct Refunding {
    pool: PgPool,
    provider: Arc<dyn PaymentProvider>,
    lease: Duration,
}

impl Refunding {
    pub(super) fn new(pool: PgPool, provider: Arc<dyn PaymentProvider>, timeout: Duration) -> Self {
        Self { pool, provider, lease: timeout + LEASE_MARGIN }
    }
}

impl Refunding {
    /// The provider has less left than we think. Its record of the charge says how much.
    async fn what_is_left(&self, refund: &DueRefund, code: String, message: String) -> RefundResult {
        match self.provider.find_charge(&refund.charge_id).await {
            Ok(Some(charge)) if charge.amount - charge.refunded < refund.amount => {
                RefundResult::LessIsLeft { charge }
            }
            Ok(_) => {
                let failure = format!("{code}: {message}");
                tracing::error!(refund_id = %refund.id, failure, "the provider refused a refund");
                RefundResult::Refused { failure, surely_unmade: true, reason: code }
            }
            Err(error) => {
                tracing::info!(refund_id = %refund.id, attempt = refund.attempts, %error, "refund still open");
                RefundResult::Postponed { pause: pause_after(refund.attempts, rand::random()) }
            }
        }
    }
}

#[async_trait]
impl Work for Refunding {
    const NAME: &'static str = "refunding";
    type Item = DueRefund;
    type Done = (DueRefund, RefundResult);

    async fn claim(&self, limit: usize) -> sqlx::Result<Vec<DueRefund>> {
        refunding::claim(&self.pool, limit, self.lease).await
    }

    async fn perform(&self, refund: DueRefund) -> Self::Done {
        let answer = self.provider.refund(refund.key(), &refund.charge_id, refund.amount).await;
        let result = match answer {
            Ok(provider_refund_id) => RefundResult::Refunded { provider_refund_id },
            Err(ProviderError::Refused { code, message }) if code == EXCEEDS_CHARGE => {
                self.what_is_left(&refund, code, message).await
            }
            Err(ProviderError::Refused { code, message }) => {
                tracing::error!(refund_id = %refund.id, code, message, "the provider refused a refund");
                RefundResult::Refused {
                    failure: format!("{code}: {message}"),
                    surely_unmade: code != KEY_REUSED,
                    reason: code,
                }
            }
            Err(error) => {
                tracing::info!(refund_id = %refund.id, attempt = refund.attempts, %error, "refund still open");
                RefundResult::Postponed { pause: pause_after(refund.attempts, rand::random()) }
            }
        };
        (refund, result)
    }

    async fn record(&self, done: &[Self::Done]) -> sqlx::Result<Vec<Self::Item>> {
        let mut tx = self.pool.begin().await?;
        refunding::record(&mut tx, done).await?;
        tx.commit().await?;
        for (_, result) in done {
            let outcome = match result {
                RefundResult::Refunded { .. } => "refunded",
                RefundResult::Refused { .. } => "refused",
                RefundResult::LessIsLeft { .. } => "reduced",
                RefundResult::Postponed { .. } => "open",
            };
            metrics::counter!("payment_refund_attempts_total", "outcome" => outcome).increment(1);
        }
        Ok(Vec::new())
    }
}
