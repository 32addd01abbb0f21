//! `GET /internal/v1/revocations`: sessions that ended before their access tokens did, for the other
//! services. It is never routed from outside. Whoever gets here only learns the ids of sessions that are
//! worthless.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use rocketmart_kit::auth::RevocationPage;
use rocketmart_kit::extract::{Json, Query};
use rocketmart_kit::problem::{Problem, Result};
use serde::Deserialize;

use super::App;
use crate::store::revocations::{self, NoCursor, Place};

/// Not part of the described API; no path between services is.
pub(super) fn router() -> axum::Router<App> {
    axum::Router::new().route("/internal/v1/revocations", get(list))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    /// The cursor of the previous answer; without it, everything that may still matter.
    after: Option<String>,
}

async fn list(State(app): State<App>, Query(query): Query<After>) -> Result<Json<RevocationPage>> {
    let place = query.after.map_or(Ok(Place::default()), |cursor| cursor.parse()).map_err(unknown)?;
    let page = revocations::after(&app.pool, place).await?;
    Ok(Json(RevocationPage { revoked: page.revoked, cursor: page.next.to_string(), has_more: page.has_more }))
}

fn unknown(_: NoCursor) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "cursor-invalid", "The cursor is not one of this list")
}
