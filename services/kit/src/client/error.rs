//! Why a call has no result, and what that says about its effect.

use bytes::Bytes;
use http::StatusCode;

/// How many characters of a refusal the message quotes.
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
    /// The answer was not a success.
    #[error("{name} answered {status}: {body}")]
    Status {
        name: &'static str,
        status: StatusCode,
        /// The beginning of the body, for people.
        body: String,
        /// The whole body, for callers that know its format.
        whole: Bytes,
    },
    /// The answer is longer than we are willing to read; what it says is unknown.
    #[error("{name} answered with more than {most} bytes")]
    TooLong { name: &'static str, most: usize },
    /// A success, but with an unexpected body.
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

    /// Whether the neighbour may have seen anything of the call. If not, it certainly had no effect: the
    /// circuit was open, or there was no connection.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::CircuitOpen { .. } => false,
            // Only a failed connect proves that nothing was sent; any later error leaves it open.
            Self::NoAnswer { source, .. } => !source.is_connect(),
            Self::Status { .. } | Self::TooLong { .. } | Self::Body { .. } => true,
        }
    }

    /// Whether the neighbour is at fault, and not the call.
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
