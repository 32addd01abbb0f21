//! `/v1/authorizations`: money set aside, then captured or voided.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};

use super::Provider;
use super::callbacks::Subject;
use super::exchange::{after_delay, answer, answer_or_not, check, decline, idempotency_key};
use super::http::{List, ListQuery};
use super::ledger::Refusal;
use super::records::{Authorization, ChargeRequest};
use super::refused::{Body, Refused};

pub(super) fn router() -> Router<Arc<Provider>> {
    Router::new()
        .route("/v1/authorizations", post(authorize).get(list))
        .route("/v1/authorizations/{id}", get(by_id))
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
        let outcome = provider.ledger().authorize(&key, &request, decline(&request, settings))?;
        if outcome.is_new {
            provider.callbacks.tell(Subject::Authorization(outcome.value.clone()), settings);
        }
        Ok(outcome)
    })
    .await?;
    Ok(answer_or_not(&provider, outcome).await)
}

/// Answers with the charge.
async fn capture(
    State(provider): State<Arc<Provider>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
    let outcome = after_delay(&provider, move |provider, settings| {
        let outcome = provider.ledger().capture(&key, &id)?;
        if outcome.is_new {
            provider.callbacks.tell(Subject::Charge(outcome.value.clone()), settings);
        }
        Ok(outcome)
    })
    .await?;
    Ok(answer_or_not(&provider, outcome).await)
}

async fn void(
    State(provider): State<Arc<Provider>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
    let outcome = after_delay(&provider, move |provider, settings| {
        let outcome = provider.ledger().void_authorization(&key, &id)?;
        if outcome.is_new {
            provider.callbacks.tell(Subject::Authorization(outcome.value.clone()), settings);
        }
        Ok(outcome)
    })
    .await?;
    Ok(answer(outcome))
}

async fn list(
    State(provider): State<Arc<Provider>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<List<Authorization>>, Refused> {
    let query = ListQuery::from(query)?;
    let ledger = provider.ledger();
    let (data, next) = match &query.reference {
        Some(reference) => (ledger.authorizations_of(reference), None),
        None => ledger.list_authorizations(query.cursor(), query.limit(), query.since, query.until),
    };
    Ok(List::new(data, next))
}

async fn by_id(
    State(provider): State<Arc<Provider>>,
    Path(id): Path<String>,
) -> Result<Json<Authorization>, Refused> {
    let authorization = provider.ledger().authorization(&id).cloned();
    authorization.map(Json).ok_or_else(|| Refusal::AuthorizationUnknown.into())
}
