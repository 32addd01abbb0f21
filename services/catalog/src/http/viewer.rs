//! Who is looking at something that needs no login.

use axum::extract::{FromRef, FromRequestParts};
use http::header::AUTHORIZATION;
use http::request::Parts;
use rocketmart_kit::auth::{Member, Verifier};
use rocketmart_kit::problem::Problem;
use uuid::Uuid;

/// The member behind the request, if it carries a token. We still refuse a bad token: a seller whose token
/// has expired should learn that, and not see the shop as a stranger does.
pub(super) struct Viewer(pub Option<Uuid>);

impl<S> FromRequestParts<S> for Viewer
where
    S: Send + Sync,
    Verifier: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if !parts.headers.contains_key(AUTHORIZATION) {
            return Ok(Self(None));
        }
        let Member(claims) = Member::from_request_parts(parts, state).await?;
        Ok(Self(Some(claims.sub)))
    }
}
