//! The internal API, `/internal/v1`: the operator loads sales here, watches them and closes their books.
//!
//! No route leads here from outside, and a token guards it besides. Every change carries a fence, a number
//! that never decreases: SQL and Redis both refuse an operator that was replaced without noticing. SQL is
//! written first and names the wanted state. Redis follows; if a call is cut short, any later call brings
//! Redis there.

mod close_out;
mod control;
mod differences;
mod load;
mod rebuild;
mod skus;
mod spec;
mod status;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use rocketmart_contracts::internal_api::{Code, Command, MAX_FENCE, SALE, SKUS};
use rocketmart_kit::internal::{self, Token};
use rocketmart_kit::problem::{Problem, Result};
use rocketmart_stock::{SaleId, SetStateOutcome, Stock, StockError};
use sqlx::PgPool;
use uuid::Uuid;

use crate::store::sales::Sale;
use crate::vouch::{self, Seen};

#[derive(Clone)]
pub(crate) struct InternalApi {
    pool: PgPool,
    stock: Stock,
}

impl InternalApi {
    pub(crate) fn new(pool: PgPool, stock: Stock) -> Self {
        Self { pool, stock }
    }

    /// Compares Redis with SQL, and vouches for it if nothing is missing.
    async fn look(&self, id: Uuid) -> Result<Seen> {
        vouch::look(&self.pool, &self.stock, id).await.map_err(|error| match error {
            vouch::Error::Sql(error) => database(error),
            vouch::Error::Stock(error) => away(error),
        })
    }

    /// Brings Redis into the state that SQL names.
    async fn align(&self, sale: &Sale) -> Result<()> {
        let wanted = spec::state(sale.state);
        let outcome = self.stock.set_state(SaleId(sale.id), fence(sale.fence), wanted).await.map_err(away)?;
        match outcome {
            // The status shows a sale that Redis does not know as a difference.
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

pub(crate) fn router(api: InternalApi, token: Token) -> Router {
    let routes = Router::new()
        .route(SALE, get(status::one))
        .route(Command::Load.route(), put(load::put))
        .route(Command::Suspend.route(), post(control::suspend))
        .route(Command::Resume.route(), post(control::resume))
        .route(Command::Close.route(), post(control::close))
        .route(Command::Cancel.route(), post(control::cancel))
        .route(Command::CloseOut.route(), post(close_out::close_out))
        .route(Command::Rebuild.route(), post(rebuild::rebuild))
        .route(SKUS, get(skus::list))
        .with_state(api);
    internal::guarded(routes, token)
}

fn fence(fence: i64) -> u64 {
    u64::try_from(fence).unwrap_or_default()
}

fn stale_fence(seen: i64) -> Problem {
    Problem::conflict(Code::StaleFence.as_str(), "a newer operator was here").with("seen", seen)
}

fn sale_unknown() -> Problem {
    Problem::not_found(Code::SaleUnknown.as_str())
}

/// Redis does not answer, or gives an answer that it should not. Everything here may be repeated.
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
