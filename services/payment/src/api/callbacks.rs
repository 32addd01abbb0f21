//! `/api/v1/payments/callbacks`: what the provider reports on its own.
//!
//! ```text
//! signature ──> content ──> our payment ──> the provider's own record ──> settled
//!     401         422          409                   409, 503
//! ```
//! A signature says who speaks, not that it is true: secrets leak, and providers make mistakes. So a
//! call-back is only a hint. Its amount and currency must be the payment's own, and we ask the provider for
//! its record, which is what counts. What does not fit settles nothing: it becomes a
//! [dispute](crate::domain::dispute) for a person to look at.
//!
//! A call-back may come twice, late, or before the answer to the call it is about. Settling is idempotent and
//! a settled payment never changes, so whichever comes first counts. Kinds that settle nothing are accepted
//! and ignored, because providers add kinds.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use rocketmart_kit::outbox;
use rocketmart_kit::problem::{Problem, Result};
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::App;
use crate::domain::dispute::{Claim, Dispute, Kind};
use crate::domain::payment::{PaymentState, Progress, Settlement, reason};
use crate::provider::{
    Authorization, AuthorizationStatus, Charge, ChargeStatus, PaymentProvider as _, ProviderError, wire,
};
use crate::store::charging;
use crate::store::disputes::{self, Claimed};

mod refunds;

const SIGNATURE: &str = "provider-signature";
/// A call-back is about a call of ours. How long that call's own answer has to arrive.
const ANSWER_COMES_FIRST: Duration = Duration::from_secs(1);

#[derive(Deserialize, ToSchema)]
struct Callback {
    /// The same for every repetition of this call-back.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_.:-]+$")]
    id: String,
    #[serde(rename = "type")]
    #[schema(example = "charge.succeeded")]
    kind: String,
    #[schema(value_type = Object)]
    data: Value,
}

/// Take a call-back of the payment provider
///
/// What it tells is compared with the payment and with the provider's own record.
#[utoipa::path(
    post, path = "/api/v1/payments/callbacks", tag = "provider",
    params(("Provider-Signature" = String, Header,
            description = "`t=<unix seconds>,v1=<hex>`: HMAC-SHA256 over `<t>.<body>`; of several `v1` one must match")),
    request_body = Callback,
    responses(
        (status = 204, description = "Taken, now or before"),
        (status = 401, description = "`signature-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`callback-disputed`: it tells what is not so of the payment, or in the provider's own books; nothing was settled",
         body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`callback-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`provider-unavailable`, `refund-in-progress`: it cannot be confirmed now; send it again",
         body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn take(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<StatusCode> {
    let header = headers.get(SIGNATURE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let now = OffsetDateTime::now_utc().unix_timestamp();
    app.provider_secrets.verify(header, &body, now).map_err(|error| {
        metrics::counter!("payment_callbacks_total", "outcome" => "forged").increment(1);
        Problem::new(StatusCode::UNAUTHORIZED, "signature-invalid", "The signature is not the provider's")
            .detail(error.to_string())
    })?;
    let callback: Callback = serde_json::from_slice(&body).map_err(|error| invalid(&error.to_string()))?;
    if !wire::is_id(&callback.id) {
        return Err(invalid("id must have 1 to 128 letters, digits, _, -, . or :"));
    }
    if callback.kind == "refund.succeeded" {
        return refunds::take(&app, callback.data).await;
    }
    let told = Told::read(&callback.kind, callback.data).map_err(|error| invalid(&error.to_string()))?;
    let Some((order, told)) =
        told.and_then(|told| Some((Uuid::parse_str(told.claim().reference).ok()?, told)))
    else {
        return Ok(taken("passed over"));
    };
    let payment = disputes::payment_of(&app.pool, order).await?;
    let believed = match believe(&app, order, payment, told).await? {
        Judged::Believed(believed) => believed,
        Judged::NothingNew(outcome) => return Ok(taken(outcome)),
        Judged::Disputed(dispute) => return refuse(&app, &dispute).await,
    };
    settle(&app, &callback.id, believed).await
}

/// What a call-back is about.
enum Told {
    Charge(Charge),
    Authorization(Authorization),
}

/// A payment, and what became of it according to the provider's own record.
struct Believed {
    payment_id: Uuid,
    progress: Progress,
}

enum Judged {
    Believed(Believed),
    NothingNew(&'static str),
    Disputed(Dispute),
}

impl Told {
    /// `None` for what settles nothing: other kinds, and what we gave up ourselves. Whoever gave it up
    /// settles it and knows why.
    fn read(kind: &str, data: Value) -> serde_json::Result<Option<Self>> {
        Ok(match kind {
            "charge.succeeded" | "charge.declined" => {
                Some(serde_json::from_value::<Charge>(data)?).filter(|it| !it.was_voided()).map(Self::Charge)
            }
            "authorization.authorized" | "authorization.declined" => {
                let authorization = Some(serde_json::from_value::<Authorization>(data)?);
                authorization.filter(|it| !it.was_voided()).map(Self::Authorization)
            }
            _ => None,
        })
    }

    fn claim(&self) -> Claim<'_> {
        match self {
            Self::Charge(charge) => charge.claim(),
            Self::Authorization(authorization) => authorization.claim(),
        }
    }

    /// Whether it says that the provider took money.
    fn is_money(&self) -> bool {
        matches!(self, Self::Charge(charge) if charge.status == ChargeStatus::Succeeded)
    }

    fn was_declined(&self) -> bool {
        match self {
            Self::Charge(charge) => charge.status == ChargeStatus::Declined,
            Self::Authorization(authorization) => authorization.status == AuthorizationStatus::Declined,
        }
    }

    fn progress(self) -> Progress {
        match self {
            Self::Charge(charge) => Progress::Settled(charge.settlement(reason::DEADLINE)),
            Self::Authorization(authorization) => authorization.progress(reason::DEADLINE),
        }
    }

    /// The provider's own record of the same thing.
    async fn on_record(&self, app: &App) -> Result<Option<Self>, ProviderError> {
        Ok(match self {
            Self::Charge(it) => app.provider.find_charge(&it.id).await?.map(Self::Charge),
            Self::Authorization(it) => {
                app.provider.find_authorization(&it.id).await?.map(Self::Authorization)
            }
        })
    }
}

/// Compares the call-back with the payment and with the provider's record of it.
async fn believe(app: &App, order: Uuid, payment: Option<Claimed>, told: Told) -> Result<Judged> {
    let claim = told.claim();
    let Some(payment) = payment else {
        if !told.is_money() {
            return Ok(Judged::NothingNew("passed over"));
        }
        let detail = format!("told: {} {}; payment: none", claim.amount, claim.currency);
        return Ok(Judged::Disputed(claim.dispute(Kind::ChargeWithoutPayment, None, detail)));
    };
    if let Some(dispute) = claim.against(payment.id, order, payment.amount, &payment.currency) {
        return Ok(Judged::Disputed(dispute));
    }
    let has_ended = PaymentState::parse(&payment.state).is_some_and(PaymentState::is_final);
    let is_known = payment.provider_charge_id.as_deref() == Some(claim.provider_id);
    if has_ended && (is_known || !told.is_money()) {
        return Ok(Judged::NothingNew("settled before"));
    }
    let record = told.on_record(app).await.map_err(|error| unconfirmed(&error))?;
    let Some(record) = record else {
        let detail = format!("told: {} {}; payment: {}", claim.amount, claim.currency, payment.state);
        return Ok(Judged::Disputed(claim.dispute(Kind::UnknownToProvider, Some(payment.id), detail)));
    };
    if record.claim() != claim || record.was_declined() != told.was_declined() {
        let detail = format!("told: {claim:?}; the provider's record: {:?}", record.claim());
        return Ok(Judged::Disputed(claim.dispute(Kind::ProviderDiffers, Some(payment.id), detail)));
    }
    if has_ended {
        let was_paid = payment.provider_charge_id.is_some();
        let kind = if was_paid { Kind::OrderChargedTwice } else { Kind::ChargeOfUnpaidPayment };
        let detail = format!("the provider has charged it; payment: {}", payment.state);
        return Ok(Judged::Disputed(claim.dispute(kind, Some(payment.id), detail)));
    }
    Ok(Judged::Believed(Believed { payment_id: payment.id, progress: record.progress() }))
}

async fn settle(app: &App, callback_id: &str, believed: Believed) -> Result<StatusCode> {
    let mut tx = app.pool.begin().await?;
    let inbox_id = format!("callback/{callback_id}");
    if outbox::inbox_filter(&mut tx, std::slice::from_ref(&inbox_id)).await?.is_empty() {
        return Ok(taken("repeated"));
    }
    let id = believed.payment_id;
    let moved_on = match believed.progress {
        Progress::Authorized { authorization_id } => {
            charging::authorize(&mut tx, &[(id, authorization_id)]).await? > 0
        }
        // A declined card may belong to an earlier request of the same order; the answer to our own call says
        // which.
        Progress::Settled(Settlement::Failed { .. } | Settlement::Voided { .. }) => {
            charging::look_again(&mut tx, id, ANSWER_COMES_FIRST).await?;
            tx.commit().await?;
            return Ok(taken("looked at again"));
        }
        Progress::Settled(settlement) => !charging::settle(&mut tx, &[(id, settlement)]).await?.is_empty(),
    };
    tx.commit().await?;
    Ok(taken(if moved_on { "settled" } else { "settled before" }))
}

/// Settles nothing, and alerts a person.
async fn refuse(app: &App, dispute: &Dispute) -> Result<StatusCode> {
    disputes::record(&mut *app.pool.acquire().await?, dispute).await?;
    metrics::counter!("payment_callbacks_total", "outcome" => "disputed").increment(1);
    Err(Problem::conflict("callback-disputed", "it does not fit the payment, or the provider's own record")
        .with("kind", dispute.kind.as_str()))
}

fn unconfirmed(error: &ProviderError) -> Problem {
    metrics::counter!("payment_callbacks_total", "outcome" => "unconfirmed").increment(1);
    tracing::warn!(%error, "a call-back could not be confirmed");
    Problem::unavailable("provider-unavailable", "the provider could not be asked about it; send it again")
}

fn taken(outcome: &'static str) -> StatusCode {
    metrics::counter!("payment_callbacks_total", "outcome" => outcome).increment(1);
    StatusCode::NO_CONTENT
}

fn invalid(why: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "callback-invalid", "The call-back cannot be read")
        // It may quote the whole text that could not be read.
        .detail(wire::message(why))
}
