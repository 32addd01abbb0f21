//! `/.well-known/jwks.json`: the public keys that verify access tokens (RFC 7517).

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::App;

/// Long enough to spare us requests, short enough that others soon learn a new key.
const CACHED: &str = "public, max-age=60";

/// The keys.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "keys",
    responses((status = 200, description = "A JSON Web Key Set", body = Object)),
)]
pub(super) async fn published(State(app): State<App>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, CACHED)], Json(app.issuer.published().clone()))
}
