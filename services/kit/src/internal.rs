//! Doors for the other parts of the shop: paths below `/internal/`. The entrance never routes to them, and
//! they require a token besides.

use std::str::FromStr;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::problem::Problem;
use crate::security_log::{self, Entry, Outcome};

const SHORTEST_TOKEN: usize = 16;

/// A door's token, kept as its hash. Comparing hashes in constant time reveals neither the token's length nor
/// how much of a guess was right.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    fn is(&self, shown: &str) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        self.0.ct_eq(&shown).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a token must have at least {SHORTEST_TOKEN} characters")]
pub struct TokenTooShort;

impl FromStr for Token {
    type Err = TokenTooShort;

    fn from_str(text: &str) -> Result<Self, TokenTooShort> {
        if text.len() < SHORTEST_TOKEN { Err(TokenTooShort) } else { Ok(Self(Sha256::digest(text).into())) }
    }
}

/// The routes of `door` for callers that present the token; all others get 401.
pub fn guarded(door: Router, token: Token) -> Router {
    door.route_layer(from_fn_with_state(token, holders_only))
}

async fn holders_only(State(token): State<Token>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match shown.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(shown) if token.is(shown) => next.run(request).await,
        _ => {
            let (outcome, reason) = (Outcome::Refused, Some("internal-token"));
            security_log::record(Entry { event: "access", outcome, reason, ..Entry::default() });
            Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "The token of this door is required")
                .into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    #[test]
    fn a_token_is_only_itself_and_never_shown() {
        let token: Token = "0123456789abcdef".parse().unwrap();
        assert!(token.is("0123456789abcdef"));
        assert!(!token.is("0123456789abcdeF") && !token.is(""));
        assert!("short".parse::<Token>().is_err());
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[tokio::test]
    async fn a_door_opens_for_its_token_alone() {
        let door = guarded(Router::new().route("/", get(|| async {})), "0123456789abcdef".parse().unwrap());
        for (shown, status) in [
            (Some("Bearer 0123456789abcdef"), StatusCode::OK),
            (Some("Bearer another token here"), StatusCode::UNAUTHORIZED),
            (Some("0123456789abcdef"), StatusCode::UNAUTHORIZED),
            (None, StatusCode::UNAUTHORIZED),
        ] {
            let request = Request::builder().uri("/");
            let request = match shown {
                Some(shown) => request.header(header::AUTHORIZATION, shown),
                None => request,
            };
            let answer = door.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), status, "{shown:?}");
        }
    }
}
