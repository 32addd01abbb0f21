//! Why a call has no result, and what that says about its effect.

use bytes::Bytes;
use http::StatusCode;

/// Characters of a refusal that its message quotes.
const QUOTED: usize = 500;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The neighbour failed too often lately; it was not called.
    #[error("{name} is not called: it failed too often lately")]
    CircuitOpen { name: &'static str },
    /// No answer. Whether the call had an effect is unknown, unless there was no connection.
    #[error("{name} gave no answer")]
    NoAnswer {
        name: &'static str,
        #[source]
        source: reqwest::Error,
    },
    /// An answer that is no success.
    #[error("{name} answered {status}: {body}")]
    Status {
        name: &'static str,
        status: StatusCode,
        /// The beginning of what it said, for people.
        body: String,
        /// All of it, for who knows its form.
        whole: Bytes,
    },
    /// An answer that is longer than anybody wants to read; what it says is unknown.
    #[error("{name} answered with more than {most} bytes")]
    TooLong { name: &'static str, most: usize },
    /// A success whose body is not what was expected.
    #[error("{name} answered with a body that is not understood")]
    Body {
        name: &'static str,
        #[source]
        source: serde_json::Error,
    },
}

impl CallError {
    pub(super) fn status(name: &'static str, status: StatusCode, whole: Bytes) -> Self {
        let body = String::from_utf8_lossy(&whole).chars().take(QUOTED).collect();
        Self::Status { name, status, body, whole }
    }

    /// Whether the neighbour may have seen anything of the call. If not, it surely had no effect: the circuit
    /// was open, or there was no connection.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::CircuitOpen { .. } => false,
            // Only a failed connect proves that nothing was sent; any later error leaves it open.
            Self::NoAnswer { source, .. } => !source.is_connect(),
            Self::Status { .. } | Self::TooLong { .. } | Self::Body { .. } => true,
        }
    }

    /// Whether the neighbour, and not the call, is at fault.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::NoAnswer { .. } => true,
            Self::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::CircuitOpen { .. } | Self::TooLong { .. } | Self::Body { .. } => false,
        }
    }
}
