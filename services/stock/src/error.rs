//! What can go wrong between a caller and Redis, told apart by what the caller may do next.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::owner;

/// Why a call has no answer. Cloned to every caller of a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StockError {
    /// The call may or may not have been carried out: it was sent, and the answer did not come.
    /// Ask again with the same idempotency key (or the same order id); never give back blindly.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// The call was certainly not carried out: no connection, Redis is still loading its data,
    /// has no memory left, is not the primary, or does not have the sale (any more).
    #[error("the stock is not available: {0}")]
    Unavailable(String),
    /// Redis began to run anew, and nobody has looked yet whether it lost something of the sale (see
    /// [`Stock::vouch`](crate::Stock::vouch)): nothing was decided.
    #[error("nobody has vouched for the sale since Redis was started")]
    Unvouched,
    /// Redis is set so that it may lose what it has accepted, in words: nothing is entrusted to it.
    #[error("{0}")]
    Unsafe(String),
    /// Too many callers are waiting already; nothing was sent.
    #[error("too many requests are waiting for the stock")]
    Overloaded,
    /// Redis answered something this version does not understand, or its data broke an invariant
    /// and the function refused to touch it.
    #[error("the stock answered unexpectedly: {0}")]
    Protocol(String),
}

impl StockError {
    /// Whether it was refused because it is another shop's Redis. As with [`StockError::Unsafe`], that does not pass
    /// by itself.
    pub fn is_of_another_shop(&self) -> bool {
        owner::is_refusal(self)
    }

    /// An error of a call that was handed to an open connection. Only answers that Redis gives
    /// *instead of* running a command count as "not carried out"; silence counts as unknown.
    pub(crate) fn after_sending(error: &RedisError) -> Self {
        let text = error.to_string();
        match error.kind() {
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::TryAgain
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
                | ServerErrorKind::ClusterDown,
            ) => Self::Unavailable(text),
            ErrorKind::Io => Self::Unknown(text),
            _ => match error.code() {
                Some("OOM" | "BUSY" | "MISCONF" | "NOREPLICAS") => Self::Unavailable(text),
                Some("UNVOUCHED") => Self::Unvouched,
                _ => Self::Protocol(text),
            },
        }
    }
}
