//! Requests that the provider does not accept, and the reading of bodies that finds some of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Provider;
use super::ledger::Refusal;

/// A refused request: `{code, message, field?}`.
#[derive(Debug, Serialize)]
pub(super) struct Refused {
    #[serde(skip)]
    status: StatusCode,
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), field: None }
    }

    pub(super) fn field(field: &'static str, message: &str) -> Self {
        let refused =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", format!("{field} {message}"));
        Self { field: Some(field), ..refused }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "this Idempotency-Key came with another body before",
            ),
            Refusal::ChargeUnknown => Self::new(StatusCode::NOT_FOUND, "charge_unknown", "no such charge"),
            Refusal::AuthorizationUnknown => {
                Self::new(StatusCode::NOT_FOUND, "authorization_unknown", "no such authorization")
            }
            Refusal::AuthorizationDeclined => Self::new(
                StatusCode::CONFLICT,
                "authorization_declined",
                "a declined authorization has nothing set aside",
            ),
            Refusal::AuthorizationVoided => {
                Self::new(StatusCode::CONFLICT, "authorization_voided", "what was set aside is given up")
            }
            Refusal::AuthorizationCaptured => Self::new(
                StatusCode::CONFLICT,
                "authorization_captured",
                "it is a charge by now, under another key",
            ),
            Refusal::NotRefundable => {
                Self::new(StatusCode::CONFLICT, "not_refundable", "a declined charge has nothing to refund")
            }
            Refusal::ExceedsCharge { refundable } => Self::new(
                StatusCode::CONFLICT,
                "refund_exceeds_charge",
                format!("{refundable} minor units are left to refund"),
            ),
        }
    }
}

/// A JSON body. An error names the position of what is wrong and never quotes it, because it may contain a
/// card number.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Provider>> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, provider: &Arc<Provider>) -> Result<Self, Refused> {
        let bytes = axum::body::Bytes::from_request(request, provider).await.map_err(|rejection| {
            Refused::new(rejection.status(), "invalid_body", "the body could not be read")
        })?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let message = format!(
                "the body is not the expected JSON (line {}, column {})",
                error.line(),
                error.column()
            );
            Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", message)
        })
    }
}
