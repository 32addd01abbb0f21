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

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use rocketmart_kit::internal::{self, Token};
use rocketmart_kit::problem::{Problem, Result};
use rocketmart_stock::{SaleId, SetStateOutcome, Stock, StockError};
use sqlx::PgPool;

use crate::domain::sale::SaleState;
use crate::store::sales::Sale;

/// Fences are compared in Redis too, where numbers are exact up to this.
const MAX_FENCE: i64 = (1 << 53) - 1;

#[derive(Clone)]
pub(crate) struct SideDoor {
    pool: PgPool,
    stock: Stock,
}

impl SideDoor {
    pub(crate) fn new(pool: PgPool, stock: Stock) -> Self {
        Self { pool, stock }
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

pub(crate) fn router(door: SideDoor, token: Token) -> Router {
    let routes = Router::new()
        .route("/internal/v1/sales/{id}", put(load::put).get(status::one))
        .route("/internal/v1/sales/{id}/suspend", post(control::suspend))
        .route("/internal/v1/sales/{id}/resume", post(control::resume))
        .route("/internal/v1/sales/{id}/close", post(control::close))
        .route("/internal/v1/sales/{id}/cancel", post(control::cancel))
        .route("/internal/v1/sales/{id}/close-out", post(close_out::close_out))
        .route("/internal/v1/sales/{id}/rebuild", post(rebuild::rebuild))
        .route("/internal/v1/skus", get(skus::list))
        .with_state(door);
    internal::guarded(routes, token)
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
        StockError::Unsafe(why) => Problem::unavailable("redis-unsafe", why),
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
