//! `/internal/v1`: where the operator loads sales, watches them and closes their books.
//!
//! Never routed from outside, and guarded by a token besides. Every change carries a fence, a
//! number that never decreases: an operator that was replaced without noticing is refused by SQL
//! and by Redis alike. SQL is written first and names the state wanted; Redis follows, and any
//! later call brings it there if this one is cut short.

mod close_out;
mod control;
mod load;
mod rebuild;
mod skus;
mod status;

use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use rocketmart_kit::problem::{Problem, Result};
use rocketmart_stock::{SaleId, SetStateOutcome, Stock, StockError};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use subtle::ConstantTimeEq;

use crate::domain::sale::SaleState;
use crate::store::sales::Sale;

/// Fences are compared in Redis too, where numbers are exact up to this.
const MAX_FENCE: i64 = (1 << 53) - 1;

/// The operator's token, kept as its hash: comparing hashes in constant time tells neither its
/// length nor how much of a guess was right.
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
#[error("the operator's token must have at least 16 characters")]
pub struct TokenTooShort;

impl FromStr for Token {
    type Err = TokenTooShort;

    fn from_str(text: &str) -> Result<Self, TokenTooShort> {
        if text.len() < 16 { Err(TokenTooShort) } else { Ok(Self(Sha256::digest(text).into())) }
    }
}

#[derive(Clone)]
pub(crate) struct SideDoor {
    pool: PgPool,
    stock: Stock,
    token: Arc<Token>,
}

impl SideDoor {
    pub(crate) fn new(pool: PgPool, stock: Stock, token: Arc<Token>) -> Self {
        Self { pool, stock, token }
    }

    /// Brings Redis into the state SQL names.
    async fn align(&self, sale: &Sale) -> Result<()> {
        use rocketmart_stock::SaleState as InRedis;
        let wanted = match sale.state {
            SaleState::Ready => InRedis::Ready,
            SaleState::Loading | SaleState::Suspended => InRedis::Suspended,
            SaleState::Closed | SaleState::Cancelled | SaleState::ClosedOut => InRedis::Closed,
        };
        let outcome = self.stock.set_state(SaleId(sale.id), fence(sale.fence), wanted).await.map_err(away)?;
        match outcome {
            // A sale Redis does not know is shown as a difference in the status.
            SetStateOutcome::Set | SetStateOutcome::UnknownSale => Ok(()),
            SetStateOutcome::StaleFence { seen } => {
                Err(stale_fence(i64::try_from(seen).unwrap_or(MAX_FENCE)))
            }
            SetStateOutcome::AlreadyClosed => {
                Err(Problem::conflict("sale-closed", "Redis has closed this sale for good"))
            }
        }
    }
}

pub(crate) fn router(door: SideDoor) -> Router {
    Router::new()
        .route("/internal/v1/sales/{id}", put(load::put).get(status::one))
        .route("/internal/v1/sales/{id}/suspend", post(control::suspend))
        .route("/internal/v1/sales/{id}/resume", post(control::resume))
        .route("/internal/v1/sales/{id}/close", post(control::close))
        .route("/internal/v1/sales/{id}/cancel", post(control::cancel))
        .route("/internal/v1/sales/{id}/close-out", post(close_out::close_out))
        .route("/internal/v1/sales/{id}/rebuild", post(rebuild::rebuild))
        .route("/internal/v1/skus", get(skus::list))
        .route_layer(from_fn_with_state(door.clone(), operator_only))
        .with_state(door)
}

async fn operator_only(State(door): State<SideDoor>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match shown.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(token) if door.token.is(token) => next.run(request).await,
        _ => Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "The operator's token is required")
            .into_response(),
    }
}

fn fence(fence: i64) -> u64 {
    u64::try_from(fence).unwrap_or_default()
}

fn stale_fence(seen: i64) -> Problem {
    Problem::conflict("stale-fence", "a newer operator was here").with("seen", seen)
}

fn sale_unknown() -> Problem {
    Problem::not_found("sale-unknown")
}

/// Redis does not answer, or answers what it should not. Everything here may be repeated.
fn away(error: StockError) -> Problem {
    match error {
        StockError::Protocol(_) => Problem::internal(error),
        error => Problem::unavailable("backing-store-unavailable", error.to_string()),
    }
}

/// PostgreSQL does not answer: the same code as for Redis.
fn database(error: sqlx::Error) -> Problem {
    let mut problem = Problem::from(error);
    if problem.status == StatusCode::SERVICE_UNAVAILABLE {
        problem.code = "backing-store-unavailable";
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_only_itself_and_never_shown() {
        let token: Token = "0123456789abcdef".parse().unwrap();
        assert!(token.is("0123456789abcdef"));
        assert!(!token.is("0123456789abcdeF") && !token.is(""));
        assert!("short".parse::<Token>().is_err());
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}
