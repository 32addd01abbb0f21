//! What calls that move money have in common: a key, a check, a delay, an answer that may not come.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Provider;
use super::callbacks::Subject;
use super::ledger::{Outcome, Refusal};
use super::records::ChargeRequest;
use super::refused::Refused;
use super::settings::Settings;

/// If an answer never comes, the connection stays open this long.
const SILENCE: Duration = Duration::from_mins(2);

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<String, Refused> {
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if key.is_empty() || key.len() > 128 {
        return Err(Refused::new(
            StatusCode::BAD_REQUEST,
            "idempotency_key_missing",
            "send an Idempotency-Key of 1 to 128 visible ASCII characters",
        ));
    }
    Ok(key.to_owned())
}

/// Decides after the set delay, and tells the shop what is new. The decision goes on even if the client hangs
/// up meanwhile: that is why a time-out tells a shop nothing.
pub(super) async fn after_delay<T: Clone + Into<Subject> + Send + 'static>(
    provider: &Arc<Provider>,
    decide: impl FnOnce(&Provider, &Settings) -> Result<Outcome<T>, Refusal> + Send + 'static,
) -> Result<Outcome<T>, Refused> {
    let decide_and_tell = |provider: &Provider, settings: &Settings| {
        let outcome = decide(provider, settings)?;
        if outcome.is_new {
            provider.callbacks.tell(outcome.value.clone().into(), settings);
        }
        Ok::<_, Refusal>(outcome)
    };
    let settings = provider.settings();
    if settings.delay_ms == 0 {
        return Ok(decide_and_tell(provider, &settings)?);
    }
    let shared = provider.clone();
    let decided = tokio::spawn(async move {
        tokio::time::sleep(settings.delay()).await;
        decide_and_tell(&shared, &settings)
    });
    let decided = decided.await.map_err(|error| {
        Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", format!("deciding failed: {error}"))
    })?;
    Ok(decided?)
}

async fn never_answer(provider: &Provider) -> Response {
    provider.stop.run_until_cancelled(tokio::time::sleep(SILENCE)).await;
    Refused::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "no answer in time").into_response()
}

pub(super) fn answer<T: Serialize>(outcome: Outcome<T>) -> Response {
    let status = if outcome.is_new { StatusCode::CREATED } else { StatusCode::OK };
    (status, Json(outcome.value)).into_response()
}

/// Answers, or stays silent about what was made, as often as the settings say.
pub(super) async fn answer_or_not<T: Serialize>(provider: &Provider, outcome: Outcome<T>) -> Response {
    if outcome.is_new && rand::random_bool(provider.settings().timeout_after_charging_rate) {
        return never_answer(provider).await;
    }
    answer(outcome)
}

/// Whether the request makes sense.
pub(super) fn check(request: &ChargeRequest) -> Result<(), Refused> {
    if !request.token.starts_with("tok_") {
        return Err(Refused::field("token", "must come from /v1/tokens"));
    }
    if request.amount < 0 {
        return Err(Refused::field("amount", "must not be negative"));
    }
    if request.currency.len() != 3 || !request.currency.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(Refused::field("currency", "must be an ISO 4217 code"));
    }
    if request.reference.is_empty() || request.reference.len() > 128 {
        return Err(Refused::field("reference", "must have 1 to 128 characters"));
    }
    Ok(())
}

/// Why the bank refuses this card this time; `None` if it does not.
pub(super) fn decline(request: &ChargeRequest, settings: &Settings) -> Option<&'static str> {
    if request.token.starts_with("tok_declined") {
        return Some("card_declined");
    }
    rand::random_bool(settings.decline_rate).then_some("insufficient_funds")
}
