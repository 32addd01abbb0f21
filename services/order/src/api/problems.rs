//! What Redis refuses or cannot tell, as problems with stable codes.

use std::time::Duration;

use axum::http::StatusCode;
use rocketmart_kit::problem::Problem;
use rocketmart_stock::StockError;

/// When to come back after a refusal that will pass by itself.
const SOON: Duration = Duration::from_secs(1);

pub(super) fn stock(error: StockError) -> Problem {
    match error {
        StockError::Unknown(_) => Problem::unavailable(
            "outcome-unknown",
            "the stock did not answer in time; repeat the request with the same Idempotency-Key to learn the outcome",
        ),
        StockError::Unavailable(_) => {
            Problem::unavailable("stock-unavailable", "nothing was changed; try again")
        }
        StockError::Unvouched | StockError::Unsafe(_) => sale_paused(),
        StockError::Overloaded => {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", "Too many requests at once")
                .detail("nothing was changed; try again")
                .retry_after(SOON)
        }
        StockError::Protocol(_) => Problem::internal(error),
    }
}

/// The sale takes no purchases for now: it was suspended, or Redis may have lost part of it.
pub(super) fn sale_paused() -> Problem {
    Problem::unavailable("sale-paused", "the sale takes nothing for now; try again")
}

pub(super) fn order_unknown() -> Problem {
    Problem::not_found("order-unknown")
}

pub(super) fn sale_unknown() -> Problem {
    Problem::not_found("sale-unknown")
}
