//! The provider's HTTP interface: tokens, charges, refunds, voids, lists, and `/control`. Authorizations have
//! their own file.

use std::sync::{Arc, MutexGuard, PoisonError};

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::Provider;
use super::authorizations;
use super::cards;
use super::exchange::{after_delay, answer, answer_or_not, check, decline, idempotency_key};
use super::ledger::Ledger;
use super::lists::{by_id, list};
use super::records::{Charge, ChargeRequest};
use super::refused::{Body, Refused};
use super::settings::{Change, Settings};

pub(super) fn router(provider: Arc<Provider>) -> Router {
    let money = Router::new()
        .route("/v1/tokens", post(tokenize))
        .merge(authorizations::router())
        .route("/v1/charges", post(charge).get(list::<Charge>))
        .route("/v1/charges/{id}", get(by_id::<Charge>))
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

/// The same card gives the same token. The number is forgotten when this returns.
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
        provider.ledger().charge(&key, &request, decline(&request, settings))
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
    let outcome =
        after_delay(&provider, move |provider, _| provider.ledger().refund(&key, &charge_id, request.amount))
            .await?;
    Ok(answer(outcome))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VoidRequest {
    reference: String,
}

/// The charge that was made first, or the promise that none will follow.
#[derive(Serialize)]
struct Voided {
    reference: String,
    charge: Option<Charge>,
}

async fn void(State(provider): State<Arc<Provider>>, Body(request): Body<VoidRequest>) -> Json<Voided> {
    let charge = provider.ledger().void(&request.reference);
    Json(Voided { reference: request.reference, charge })
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
