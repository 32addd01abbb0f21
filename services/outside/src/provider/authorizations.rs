//! `/v1/authorizations`: money set aside, then captured or voided.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};

use super::Provider;
use super::exchange::{after_delay, answer, answer_or_not, check, decline, idempotency_key};
use super::lists::{by_id, list};
use super::records::{Authorization, ChargeRequest};
use super::refused::{Body, Refused};

pub(super) fn router() -> Router<Arc<Provider>> {
    Router::new()
        .route("/v1/authorizations", post(authorize).get(list::<Authorization>))
        .route("/v1/authorizations/{id}", get(by_id::<Authorization>))
        .route("/v1/authorizations/{id}/captures", post(capture))
        .route("/v1/authorizations/{id}/voids", post(void))
}

async fn authorize(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    Body(request): Body<ChargeRequest>,
) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
    check(&request)?;
    let outcome = after_delay(&provider, move |provider, settings| {
        provider.ledger().authorize(&key, &request, decline(&request, settings))
    })
    .await?;
    Ok(answer_or_not(&provider, outcome).await)
}

/// Returns the charge.
async fn capture(
    State(provider): State<Arc<Provider>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
    let outcome = after_delay(&provider, move |provider, _| provider.ledger().capture(&key, &id)).await?;
    Ok(answer_or_not(&provider, outcome).await)
}

async fn void(
    State(provider): State<Arc<Provider>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
    let outcome =
        after_delay(&provider, move |provider, _| provider.ledger().void_authorization(&key, &id)).await?;
    Ok(answer(outcome))
}
