//! The caller as an argument of a handler.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use http::{StatusCode, header};

use super::{AuthError, Claims, Role, Verifier};
use crate::problem::Problem;
use crate::request_limits::MemberLimit;
use crate::security_log::{self, Entry, Outcome};

/// Any member; 401 `unauthenticated` without a valid token, 401 `session-ended` after a log-out.
#[derive(Clone, Debug)]
pub struct Member(pub Arc<Claims>);

/// A member who sells; 403 `forbidden` for others.
#[derive(Clone, Debug)]
pub struct Seller(pub Arc<Claims>);

/// An administrator; 403 `forbidden` for others.
#[derive(Clone, Debug)]
pub struct Admin(pub Arc<Claims>);

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::KeysUnavailable => Problem::unavailable("keys-unavailable", error.to_string()),
            AuthError::SessionEnded => session_ended(),
            AuthError::Invalid | AuthError::Expired => unauthenticated().detail(error.to_string()),
        }
    }
}

fn unauthenticated() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "A valid access token is required")
}

/// 401 `session-ended`: the token is one of ours, but its session is over.
pub fn session_ended() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "session-ended", "The session has ended; log in again")
}

async fn claims<S>(parts: &Parts, state: &S) -> Result<Arc<Claims>, Problem>
where
    S: Send + Sync,
    Verifier: FromRef<S>,
{
    let token = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(|| unauthenticated().detail("send Authorization: Bearer <access token>"))?;
    let claims = Verifier::from_ref(state).verify(token).await.map_err(|error| {
        let reason = match error {
            AuthError::Invalid => Some("token-invalid"),
            AuthError::SessionEnded => Some("session-ended"),
            // Every client runs into the first sooner or later, and nobody is to blame for the second.
            AuthError::Expired | AuthError::KeysUnavailable => None,
        };
        if reason.is_some() {
            security_log::record(Entry { outcome: Outcome::Refused, reason, ..access(parts, None) });
        }
        Problem::from(error)
    })?;
    if let Some(limit) = parts.extensions.get::<MemberLimit>() {
        limit.admit(claims.sub)?;
    }
    Ok(claims)
}

/// A security log entry about a request.
fn access<'a>(parts: &'a Parts, claims: Option<&Claims>) -> Entry<'a> {
    Entry {
        event: "access",
        member: claims.map(|claims| claims.sub),
        session: claims.map(|claims| claims.sid),
        forwarded_for: parts.headers.get("x-forwarded-for").and_then(|value| value.to_str().ok()),
        ..Entry::default()
    }
}

async fn claims_with<S>(parts: &Parts, state: &S, role: Role) -> Result<Arc<Claims>, Problem>
where
    S: Send + Sync,
    Verifier: FromRef<S>,
{
    let claims = claims(parts, state).await?;
    if claims.has(role) {
        if role == Role::Admin {
            security_log::record(Entry { event: "administration", ..access(parts, Some(&claims)) });
        }
        Ok(claims)
    } else {
        let refused =
            Entry { outcome: Outcome::Refused, reason: Some("forbidden"), ..access(parts, Some(&claims)) };
        security_log::record(refused);
        Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "The member's roles do not allow this"))
    }
}

impl<S> FromRequestParts<S> for Member
where
    S: Send + Sync,
    Verifier: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        claims(parts, state).await.map(Self)
    }
}

impl<S> FromRequestParts<S> for Seller
where
    S: Send + Sync,
    Verifier: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        claims_with(parts, state, Role::Seller).await.map(Self)
    }
}

impl<S> FromRequestParts<S> for Admin
where
    S: Send + Sync,
    Verifier: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        claims_with(parts, state, Role::Admin).await.map(Self)
    }
}
