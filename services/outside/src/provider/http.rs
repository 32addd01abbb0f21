//! The provider's HTTP interface: tokens, charges, refunds, voids, lists, and `/control`.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::Provider;
use super::callbacks::Subject;
use super::cards;
use super::ledger::{Charge, ChargeRequest, Ledger, Outcome, Refund, Refusal};
use super::refused::{Body, Refused};
use super::settings::{Change, Settings};

/// How long an answer that never comes keeps the connection open.
const SILENCE: Duration = Duration::from_secs(120);
const LARGEST_PAGE: usize = 1_000;

pub(super) fn router(provider: Arc<Provider>) -> Router {
    let money = Router::new()
        .route("/v1/tokens", post(tokenize))
        .route("/v1/charges", post(charge).get(list))
        .route("/v1/charges/{id}", get(charge_by_id))
        .route("/v1/charges/{id}/refunds", post(refund))
        .route("/v1/voids", post(void))
        .route_layer(middleware::from_fn_with_state(provider.clone(), fail_during_outage));
    Router::new()
        .merge(money)
        .route("/control", get(settings).put(change_settings))
        .route("/livez", get(|| async { StatusCode::OK }))
        .route("/readyz", get(|| async { StatusCode::OK }))
        .with_state(provider)
}

async fn fail_during_outage(State(provider): State<Arc<Provider>>, request: Request, next: Next) -> Response {
    if provider.settings().outage {
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, "outage", "out of order, try later").into_response()
    } else {
        next.run(request).await
    }
}

#[derive(Deserialize)]
struct Card {
    card_number: String,
}

/// The same card gives the same token; the number is forgotten when this returns.
async fn tokenize(
    State(provider): State<Arc<Provider>>,
    Body(card): Body<Card>,
) -> Result<Response, Refused> {
    let token = cards::token(&provider.secret, &card.card_number)
        .ok_or_else(|| Refused::field("card_number", "must be 12 to 19 digits with a valid check digit"))?;
    Ok((StatusCode::CREATED, Json(serde_json::json!({ "token": token }))).into_response())
}

async fn charge(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    Body(request): Body<ChargeRequest>,
) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
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
    let outcome = after_delay(&provider, move |provider, settings| {
        let decline = if request.token.starts_with("tok_declined") {
            Some("card_declined")
        } else {
            rand::random_bool(settings.decline_rate).then_some("insufficient_funds")
        };
        let outcome = provider.ledger().charge(&key, &request, decline)?;
        if outcome.is_new {
            provider.callbacks.tell(Subject::Charge(outcome.value.clone()), settings);
        }
        Ok(outcome)
    })
    .await?;
    if outcome.is_new && rand::random_bool(provider.settings().timeout_after_charging_rate) {
        return Ok(never_answer(&provider).await);
    }
    Ok(answer(outcome))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundRequest {
    amount: Option<i64>,
}

async fn refund(
    State(provider): State<Arc<Provider>>,
    Path(charge_id): Path<String>,
    headers: HeaderMap,
    Body(request): Body<RefundRequest>,
) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
    if request.amount.is_some_and(|amount| amount < 0) {
        return Err(Refused::field("amount", "must not be negative"));
    }
    let outcome: Outcome<Refund> = after_delay(&provider, move |provider, settings| {
        let outcome = provider.ledger().refund(&key, &charge_id, request.amount)?;
        if outcome.is_new {
            provider.callbacks.tell(Subject::Refund(outcome.value.clone()), settings);
        }
        Ok(outcome)
    })
    .await?;
    Ok(answer(outcome))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VoidRequest {
    reference: String,
}

/// The charge that came first, or the promise that none will come.
#[derive(Serialize)]
struct Voided {
    reference: String,
    charge: Option<Charge>,
}

async fn void(State(provider): State<Arc<Provider>>, Body(request): Body<VoidRequest>) -> Json<Voided> {
    let charge = provider.ledger().void(&request.reference);
    Json(Voided { reference: request.reference, charge })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    reference: Option<String>,
    cursor: Option<usize>,
    limit: Option<usize>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    since: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    until: Option<OffsetDateTime>,
}

#[derive(Serialize)]
struct List {
    data: Vec<Charge>,
    next_cursor: Option<String>,
    has_more: bool,
}

async fn list(
    State(provider): State<Arc<Provider>>,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<List>, Refused> {
    let Query(query) =
        query.map_err(|e| Refused::new(StatusCode::BAD_REQUEST, "invalid_query", e.body_text()))?;
    let ledger = provider.ledger();
    let (data, next) = match &query.reference {
        Some(reference) => (ledger.by_reference(reference), None),
        None => ledger.list(
            query.cursor.unwrap_or(0),
            query.limit.unwrap_or(100).clamp(1, LARGEST_PAGE),
            query.since,
            query.until,
        ),
    };
    Ok(Json(List { data, has_more: next.is_some(), next_cursor: next.map(|n| n.to_string()) }))
}

async fn charge_by_id(
    State(provider): State<Arc<Provider>>,
    Path(id): Path<String>,
) -> Result<Json<Charge>, Refused> {
    let charge = provider.ledger().by_id(&id).cloned();
    charge.map(Json).ok_or_else(|| Refusal::ChargeUnknown.into())
}

async fn settings(State(provider): State<Arc<Provider>>) -> Json<Settings> {
    Json(provider.settings())
}

async fn change_settings(
    State(provider): State<Arc<Provider>>,
    Body(change): Body<Change>,
) -> Result<Json<Settings>, Refused> {
    let mut settings = provider.settings.lock().unwrap_or_else(PoisonError::into_inner);
    settings.apply(change).map_err(|field| Refused::field(field, "must be between 0 and 1"))?;
    tracing::info!(?settings, "settings changed");
    Ok(Json(settings.clone()))
}

fn idempotency_key(headers: &HeaderMap) -> Result<String, Refused> {
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

/// Decides after the set delay. A client that hangs up meanwhile does not stop the decision: that is
/// why a time-out tells a shop nothing.
async fn after_delay<T: Send + 'static>(
    provider: &Arc<Provider>,
    decide: impl FnOnce(&Provider, &Settings) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refused> {
    let settings = provider.settings();
    if settings.delay_ms == 0 {
        return Ok(decide(provider, &settings)?);
    }
    let shared = provider.clone();
    let decided = tokio::spawn(async move {
        tokio::time::sleep(settings.delay()).await;
        decide(&shared, &settings)
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

fn answer<T: Serialize>(outcome: Outcome<T>) -> Response {
    let status = if outcome.is_new { StatusCode::CREATED } else { StatusCode::OK };
    (status, Json(outcome.value)).into_response()
}

impl Provider {
    fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
