//! What the provider has booked, one by one and in pages. A shop that lost an answer can look here.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::Provider;
use super::ledger::Listed;
use super::refused::Refused;

const LARGEST_PAGE: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    reference: Option<String>,
    cursor: Option<usize>,
    limit: Option<usize>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    since: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    until: Option<OffsetDateTime>,
}

#[derive(Serialize)]
pub(super) struct List<T> {
    data: Vec<T>,
    next_cursor: Option<String>,
    has_more: bool,
}

pub(super) async fn list<T: Listed>(
    State(provider): State<Arc<Provider>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<List<T>>, Refused> {
    let Query(query) =
        query.map_err(|e| Refused::new(StatusCode::BAD_REQUEST, "invalid_query", e.body_text()))?;
    let ledger = provider.ledger();
    let book = T::book(&ledger);
    let (data, next) = if let Some(reference) = &query.reference {
        (book.of(reference), None)
    } else {
        let limit = query.limit.unwrap_or(100).clamp(1, LARGEST_PAGE);
        book.page(query.cursor.unwrap_or(0), limit, query.since, query.until)
    };
    Ok(Json(List { data, has_more: next.is_some(), next_cursor: next.map(|next| next.to_string()) }))
}

pub(super) async fn by_id<T: Listed>(
    State(provider): State<Arc<Provider>>,
    Path(id): Path<String>,
) -> Result<Json<T>, Refused> {
    let found = T::book(&provider.ledger()).find(&id).cloned();
    found.map(Json).ok_or_else(|| T::UNKNOWN.into())
}
