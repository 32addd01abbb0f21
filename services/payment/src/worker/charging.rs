//! One attempt at one payment: set the money aside, take it, or find out how an earlier attempt ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::pipeline::Work;
use crate::domain::backoff::pause_after;
use crate::domain::dispute::Dispute;
use crate::domain::payment::{Capture, DuePayment, Progress, Seen, Settlement, Step, call_key, reason};
use crate::provider::{Authorization, Charge, ChargeOrder, PaymentProvider, ProviderError};
use crate::store::charging::{self, Claimed, Postponed};
use crate::store::disputes;

/// A lease is this much longer than the provider's time-out, to leave time for writing the result. An attempt
/// that is refused asks once more.
const LEASE_MARGIN: Duration = Duration::from_secs(25);
/// How often a search for due payments starts at the beginning of their queue.
const WHOLE_SEARCH_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Charging {
    pool: PgPool,
    provider: Arc<dyn PaymentProvider>,
    capture: Capture,
    lease: Duration,
    search: Mutex<Search>,
}

/// Where in the queue of due payments to start looking.
///
/// Until it is vacuumed, the index keeps what was due and is done: a minute's worth of payments and more. A
/// search from its beginning goes through all of that. So most searches start where the last whole search
/// found something. If a payment becomes due before that point meanwhile, the next whole search finds it.
#[derive(Default)]
struct Search {
    from: Option<(OffsetDateTime, Instant)>,
}

impl Search {
    /// Where to start now; `None` is the beginning.
    fn from(&self) -> Option<OffsetDateTime> {
        self.from.filter(|(_, found)| found.elapsed() < WHOLE_SEARCH_EVERY).map(|(from, _)| from)
    }

    /// Notes the first payment that a whole search found.
    fn found(&mut self, first: Option<OffsetDateTime>) {
        self.from = first.map(|first| (first, Instant::now()));
    }
}

impl Charging {
    pub(super) fn new(
        pool: PgPool,
        provider: Arc<dyn PaymentProvider>,
        capture: Capture,
        timeout: Duration,
    ) -> Self {
        Self { pool, provider, capture, lease: timeout * 2 + LEASE_MARGIN, search: Mutex::default() }
    }
}

pub(super) enum Attempt {
    Answered(Uuid, Progress),
    /// The answer is about a different amount than we asked for. It settles the payment as not paid.
    Disputed(Uuid, Dispute),
    Open(Postponed),
}

/// What the provider's answer means.
enum Answer {
    Progress(Progress),
    Disputed(Dispute),
}

#[async_trait]
impl Work for Charging {
    const NAME: &'static str = "charging";
    type Item = Claimed;
    type Done = Attempt;

    async fn claim(&self, limit: usize) -> sqlx::Result<Vec<Self::Item>> {
        let from = lock(&self.search).from();
        let begin = from.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let claimed = charging::claim(&self.pool, limit, begin, self.lease, self.capture).await?;
        if from.is_none() {
            lock(&self.search).found(claimed.iter().map(|claimed| claimed.was_due_at).min());
        }
        Ok(claimed)
    }

    async fn perform(&self, Claimed { payment, now, .. }: Claimed) -> Attempt {
        match attempt(&*self.provider, &payment, now).await {
            Ok(Answer::Progress(progress)) => Attempt::Answered(payment.id, progress),
            Ok(Answer::Disputed(dispute)) => Attempt::Disputed(payment.id, dispute),
            Err(error) => Attempt::Open(postponed(&payment, &error)),
        }
    }

    /// This worker captures next what was set aside.
    async fn record(&self, done: &[Attempt]) -> sqlx::Result<Vec<Claimed>> {
        let (mut authorized, mut settled, mut open) = (Vec::new(), Vec::new(), Vec::new());
        let mut disputed = Vec::new();
        for attempt in done {
            match attempt {
                Attempt::Answered(id, Progress::Authorized { authorization_id }) => {
                    authorized.push((*id, authorization_id.clone()));
                }
                Attempt::Answered(id, Progress::Settled(settlement)) => {
                    settled.push((*id, settlement.clone()));
                }
                Attempt::Disputed(id, dispute) => {
                    let reason = reason::ANSWER_DIFFERS.to_owned();
                    settled.push((*id, Settlement::Failed { reason, closed: true }));
                    disputed.push(dispute);
                }
                Attempt::Open(postponed) => open.push(postponed.clone()),
            }
        }
        let mut tx = self.pool.begin().await?;
        let to_capture = charging::authorize_and_claim(&mut tx, &authorized, self.lease).await?;
        charging::settle(&mut tx, &settled).await?;
        charging::postpone(&mut tx, &open).await?;
        for dispute in disputed {
            disputes::record(&mut tx, dispute).await?;
        }
        tx.commit().await?;
        for attempt in done {
            metrics::counter!("payment_attempts_total", "outcome" => attempt.name()).increment(1);
        }
        Ok(to_capture)
    }
}

fn lock(search: &Mutex<Search>) -> MutexGuard<'_, Search> {
    search.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Attempt {
    fn name(&self) -> &'static str {
        match self {
            Self::Answered(_, Progress::Authorized { .. }) => "authorized",
            Self::Answered(_, Progress::Settled(settlement)) => match settlement {
                Settlement::Charged { .. } => "charged",
                Settlement::Failed { .. } => "failed",
                Settlement::Voided { .. } => "voided",
            },
            Self::Disputed(..) => "disputed",
            Self::Open(Postponed { back_to: Some(_), .. }) => "unreachable",
            Self::Open(_) => "unknown",
        }
    }
}

/// An error means that the outcome is unknown; a refusal is an outcome.
async fn attempt(
    provider: &dyn PaymentProvider,
    payment: &DuePayment,
    now: OffsetDateTime,
) -> Result<Answer, ProviderError> {
    let step = payment.step(now);
    let too_late = matches!(step, Step::GiveUp(_) | Step::Settle | Step::Void);
    let answer = match &step {
        Step::Authorize => provider.authorize(&order(payment)).await.map(|it| set_aside(payment, it)),
        Step::Capture(id) => provider
            .capture(call_key(payment.key(), "capture"), id)
            .await
            .map(|charge| charged(payment, charge)),
        Step::Charge => provider.charge(&order(payment)).await.map(|charge| charged(payment, charge)),
        Step::GiveUp(id) => {
            provider.void(call_key(payment.key(), "void"), id).await.map(|_| given_up(payment))
        }
        Step::Settle => last_word(provider, payment, given_up(payment)).await,
        Step::Void => Ok(given_up(payment)),
    };
    match answer {
        Err(ProviderError::Refused { code, message }) if step != Step::Settle => {
            tracing::warn!(payment_id = %payment.id, code, message, ?step, "the provider refused");
            let is_first_call = payment.seen == Seen::Nothing;
            let reason = reason::PROVIDER_REFUSED.to_owned();
            let refused =
                Answer::Progress(Progress::Settled(Settlement::Failed { reason, closed: !is_first_call }));
            if is_first_call {
                return Ok(refused);
            }
            // Only the provider knows whether an earlier attempt ended otherwise.
            last_word(provider, payment, if too_late { given_up(payment) } else { refused }).await
        }
        answer => answer,
    }
}

/// The charge that was made, if there was one; otherwise `uncharged`, and then none will be made.
async fn last_word(
    provider: &dyn PaymentProvider,
    payment: &DuePayment,
    uncharged: Answer,
) -> Result<Answer, ProviderError> {
    let charge = provider.settle(payment.order_id).await?;
    Ok(charge.map_or(uncharged, |charge| charged(payment, charge)))
}

fn set_aside(payment: &DuePayment, authorization: Authorization) -> Answer {
    match payment.dispute(authorization.claim()) {
        Some(dispute) => Answer::Disputed(dispute),
        None => Answer::Progress(authorization.progress(payment.void_reason())),
    }
}

fn charged(payment: &DuePayment, charge: Charge) -> Answer {
    match payment.dispute(charge.claim()) {
        Some(dispute) => Answer::Disputed(dispute),
        None => Answer::Progress(Progress::Settled(charge.settlement(payment.void_reason()))),
    }
}

fn given_up(payment: &DuePayment) -> Answer {
    let reason = payment.void_reason().to_owned();
    Answer::Progress(Progress::Settled(Settlement::Voided { reason }))
}

fn order(payment: &DuePayment) -> ChargeOrder {
    ChargeOrder {
        idempotency_key: payment.key(),
        reference: payment.order_id,
        token: payment.provider_token.clone(),
        amount: payment.amount,
        currency: payment.currency.clone(),
    }
}

fn postponed(payment: &DuePayment, error: &ProviderError) -> Postponed {
    tracing::info!(payment_id = %payment.id, attempt = payment.attempt, %error, "payment still open");
    let back_to = match (error, &payment.seen) {
        (ProviderError::Unreachable(_), Seen::Nothing) => Some("requested"),
        (ProviderError::Unreachable(_), Seen::Authorization(_)) => Some("authorized"),
        _ => None,
    };
    Postponed {
        payment_id: payment.id,
        attempt: payment.attempt,
        pause: pause_after(payment.attempt, rand::random()),
        back_to,
    }
}
