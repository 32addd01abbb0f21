//! What can go wrong between a caller and Redis, divided by what the caller may do next.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::owner;

/// Why a call has no answer. Every caller of a batch gets a clone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StockError {
    /// The call may or may not have been carried out: we sent it, and no answer came. Ask again with the same
    /// idempotency key (or the same order id); never give units back blindly.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// The call was certainly not carried out: there is no connection, or Redis is still loading its data, is
    /// out of memory, is not the primary, or does not have the sale (any more).
    #[error("the stock is not available: {0}")]
    Unavailable(String),
    /// Redis has restarted, and nobody has checked yet whether it lost something of the sale (see
    /// [`Stock::vouch`](crate::Stock::vouch)). Nothing was decided.
    #[error("nobody has vouched for the sale since Redis was started")]
    Unvouched,
    /// Redis is set so that it may lose what it has accepted; the text says how. We entrust nothing to it.
    #[error("{0}")]
    Unsafe(String),
    /// Too many callers are waiting already; nothing was sent.
    #[error("too many requests are waiting for the stock")]
    Overloaded,
    /// Redis answered something that this version does not understand, or its data broke an invariant and the
    /// function refused to touch it.
    #[error("the stock answered unexpectedly: {0}")]
    Protocol(String),
}

impl StockError {
    /// Whether it was refused because the Redis belongs to another shop. Like [`StockError::Unsafe`], that
    /// does not pass by itself.
    pub fn is_of_another_shop(&self) -> bool {
        owner::is_refusal(self)
    }

    /// The error of a call that was sent over an open connection. Only answers that Redis gives *instead of*
    /// running a command count as "not carried out"; silence counts as unknown.
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
