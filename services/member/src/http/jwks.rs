//! `/.well-known/jwks.json`: the public keys that access tokens are verified with (RFC 7517).

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::App;

/// Long enough to spare us requests, short enough for a new key to be known soon.
const CACHED: &str = "public, max-age=60";

/// The keys.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "keys",
    responses((status = 200, description = "A JSON Web Key Set", body = Object)),
)]
pub(super) async fn published(State(app): State<App>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, CACHED)], Json(app.issuer.published().clone()))
}
