//! Why a store did not do what it was asked, and what the caller is told about it.
//!
//! Where an answer is stored for repetitions, the store gives it, refusals included. So the stores need the
//! words for callers as much as the handlers do.

use http::StatusCode;
use rocketmart_kit::problem::Problem;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such product, or it is not this member's.
    #[error("no such product")]
    Unknown,
    /// Somebody has changed the product since it was read.
    #[error("the product has another version by now")]
    VersionConflict,
    /// SKUs that another product is published with.
    #[error("SKUs taken by another product: {0:?}")]
    SkusTaken(Vec<String>),
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
    /// Cassandra does not answer, or refuses the statement.
    #[error(transparent)]
    Cassandra(Box<ExecutionError>),
    /// The change may or may not have happened.
    #[error("the outcome is unknown: {0}")]
    OutcomeUnknown(anyhow::Error),
    /// It cannot be done now, and was not.
    #[error(transparent)]
    Unavailable(anyhow::Error),
    /// What is stored is not what this version writes there.
    #[error("cannot be read: {0}")]
    Unreadable(anyhow::Error),
}

impl From<ExecutionError> for StoreError {
    fn from(error: ExecutionError) -> Self {
        Self::Cassandra(Box::new(error))
    }
}

impl StoreError {
    pub(super) fn unreadable(error: impl Into<anyhow::Error>) -> Self {
        Self::Unreadable(error.into())
    }

    pub(super) fn unavailable(error: impl Into<anyhow::Error>) -> Self {
        Self::Unavailable(error.into())
    }
}

/// Whether Cassandra refused the statement as such, so that it cannot have happened.
pub(super) fn is_refused_statement(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::BadQuery(_) | ExecutionError::PrepareError(_) => true,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) => matches!(
            error,
            DbError::SyntaxError | DbError::Invalid | DbError::Unauthorized | DbError::ConfigError
        ),
        _ => false,
    }
}

/// What a store's refusal means to a caller. The handlers of products name taken SKUs, because they know the
/// fields.
pub(crate) fn refusal(error: StoreError) -> Problem {
    match error {
        StoreError::Unknown => product_unknown(),
        StoreError::VersionConflict => version_conflict(),
        StoreError::SkusTaken(skus) => {
            Problem::conflict("sku-taken", format!("taken by another product: {}", skus.join(", ")))
        }
        error => failure(error),
    }
}

pub(crate) fn product_unknown() -> Problem {
    Problem::not_found("product-unknown")
}

/// 412: the change was made for a version that is no longer current.
pub(crate) fn version_conflict() -> Problem {
    Problem::new(StatusCode::PRECONDITION_FAILED, "version-conflict", "The product was changed meanwhile")
        .detail("read it again and repeat the change with its new ETag")
}

/// What a store's error means to a caller who can only try again.
fn failure(error: StoreError) -> Problem {
    match error {
        StoreError::Postgres(error) => error.into(),
        StoreError::OutcomeUnknown(error) => {
            tracing::warn!(error = format!("{error:#}"), "the outcome of a change is unknown");
            Problem::unavailable(
                "outcome-unknown",
                "the change may or may not have been made; look before you repeat it",
            )
        }
        StoreError::Unavailable(error) => unavailable(&error),
        StoreError::Cassandra(error) if !is_refused_statement(&error) => unavailable(&error.into()),
        error => Problem::internal(error),
    }
}

fn unavailable(error: &anyhow::Error) -> Problem {
    tracing::warn!(error = format!("{error:#}"), "Cassandra unavailable");
    Problem::unavailable("database-unavailable", "the database does not answer")
}
