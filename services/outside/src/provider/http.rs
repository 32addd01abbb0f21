//! The provider's HTTP interface: tokens, charges, refunds, voids, lists, and `/control`; authorizations
//! have a file of their own.

use std::sync::{Arc, MutexGuard, PoisonError};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::Provider;
use super::authorizations;
use super::callbacks::Subject;
use super::cards;
use super::exchange::{after_delay, answer, answer_or_not, check, decline, idempotency_key};
use super::ledger::{Ledger, Outcome, Refusal};
use super::records::{Charge, ChargeRequest, Refund};
use super::refused::{Body, Refused};
use super::settings::{Change, Settings};

const LARGEST_PAGE: usize = 1_000;

pub(super) fn router(provider: Arc<Provider>) -> Router {
    let money = Router::new()
        .route("/v1/tokens", post(tokenize))
        .merge(authorizations::router())
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
    check(&request)?;
    let outcome = after_delay(&provider, move |provider, settings| {
        let outcome = provider.ledger().charge(&key, &request, decline(&request, settings))?;
        if outcome.is_new {
            provider.callbacks.tell(Subject::Charge(outcome.value.clone()), settings);
        }
        Ok(outcome)
    })
    .await?;
    Ok(answer_or_not(&provider, outcome).await)
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
pub(super) struct ListQuery {
    pub(super) reference: Option<String>,
    cursor: Option<usize>,
    limit: Option<usize>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub(super) since: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub(super) until: Option<OffsetDateTime>,
}

impl ListQuery {
    pub(super) fn from(query: Result<Query<Self>, QueryRejection>) -> Result<Self, Refused> {
        query
            .map(|Query(query)| query)
            .map_err(|e| Refused::new(StatusCode::BAD_REQUEST, "invalid_query", e.body_text()))
    }

    pub(super) fn cursor(&self) -> usize {
        self.cursor.unwrap_or(0)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(100).clamp(1, LARGEST_PAGE)
    }
}

#[derive(Serialize)]
pub(super) struct List<T> {
    data: Vec<T>,
    next_cursor: Option<String>,
    has_more: bool,
}

impl<T> List<T> {
    pub(super) fn new(data: Vec<T>, next: Option<usize>) -> Json<Self> {
        Json(Self { data, has_more: next.is_some(), next_cursor: next.map(|next| next.to_string()) })
    }
}

async fn list(
    State(provider): State<Arc<Provider>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<List<Charge>>, Refused> {
    let query = ListQuery::from(query)?;
    let ledger = provider.ledger();
    let (data, next) = match &query.reference {
        Some(reference) => (ledger.by_reference(reference), None),
        None => ledger.list(query.cursor(), query.limit(), query.since, query.until),
    };
    Ok(List::new(data, next))
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

impl Provider {
    pub(super) fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
