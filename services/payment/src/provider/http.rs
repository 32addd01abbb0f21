//! The provider over HTTP.
//!
//! A call is made once. The caller (see the worker) repeats it under the same key, after a pause that it
//! chooses. So the client neither retries nor has a circuit breaker: with an open circuit, payments would
//! miss their deadlines although the provider would have taken them.

use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use axum::http::StatusCode;
use rocketmart_kit::client::{Call, CallError, Client, Limits};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;
use uuid::Uuid;

use super::{Authorization, Charge, ChargeOrder, PaymentProvider, ProviderError, ProviderPage, Window, wire};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const IDLE_CONNECTIONS: usize = 512;
const PAGE: &str = "1000";
/// The largest answer that we read; a page of charges is about 400 kB.
const LONGEST_ANSWER: usize = 4 << 20;

/// A client with pooled connections. Every call ends within its time-out.
pub struct HttpProvider {
    client: Client,
}

impl HttpProvider {
    /// `base` is the provider's address without `/v1`; `timeout` limits a whole call.
    pub fn new(base: &Url, timeout: Duration) -> anyhow::Result<Self> {
        base.join("v1/").context("PAYMENT_PROVIDER_URL must be an http address")?;
        let limits = Limits {
            connect: CONNECT_TIMEOUT,
            timeout,
            answer: LONGEST_ANSWER,
            idle: IDLE_CONNECTIONS,
            retries: 0,
            circuit: None,
        };
        let client = Client::with_limits(base.clone(), "payment-provider", limits)
            .context("building the provider's HTTP client")?;
        Ok(Self { client })
    }

    async fn call<T: DeserializeOwned>(&self, name: &'static str, call: Call) -> Result<T, ProviderError> {
        let started = std::time::Instant::now();
        let answer = self.client.call(call).await.map_err(ProviderError::from);
        let outcome = match &answer {
            Ok(_) => "answered",
            Err(ProviderError::Unreachable(_)) => "unreachable",
            Err(ProviderError::Unknown(_)) => "unknown",
            Err(ProviderError::Refused { .. }) => "refused",
        };
        metrics::histogram!("payment_provider_seconds", "call" => name, "outcome" => outcome)
            .record(started.elapsed());
        answer
    }
}

impl From<CallError> for ProviderError {
    fn from(error: CallError) -> Self {
        if let Some(Refusal { code, message }) = refusal(&error) {
            return Self::Refused { code, message: wire::message(&message) };
        }
        let outcome = if error.may_have_arrived() { Self::Unknown } else { Self::Unreachable };
        outcome(match error {
            CallError::NoAnswer { source, .. } => chain(&source),
            CallError::Status { status, .. } => format!("HTTP {status}"),
            CallError::TooLong { most, .. } => format!("an answer of more than {most} bytes"),
            CallError::Body { source, .. } => wire::message(&source.to_string()),
            CallError::CircuitOpen { .. } => error.to_string(),
        })
    }
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Only the provider itself can refuse, in its own words. A gateway's error says nothing about that.
fn refusal(error: &CallError) -> Option<Refusal> {
    let CallError::Status { status, whole, .. } = error else { return None };
    let may_succeed_later = matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if may_succeed_later || !status.is_client_error() {
        return None;
    }
    serde_json::from_slice::<Refusal>(whole).ok().filter(|refusal| wire::is_code(&refusal.code))
}

/// An HTTP error hides the reason in its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[derive(Deserialize)]
struct Voided {
    charge: Option<Charge>,
}

#[derive(Deserialize)]
struct RefundMade {
    #[serde(deserialize_with = "wire::id")]
    id: String,
}

/// A call that moves money and so has a key.
fn moving(key: Uuid, path: impl Into<String>) -> Call {
    Call::post(path).idempotency_key(key.to_string())
}

impl HttpProvider {
    /// Finds something by its id; `None` if the provider says that it does not know it.
    async fn find<T: DeserializeOwned>(
        &self,
        name: &'static str,
        path: String,
    ) -> Result<Option<T>, ProviderError> {
        match self.call(name, Call::get(path)).await {
            Ok(found) => Ok(Some(found)),
            Err(ProviderError::Refused { code, .. }) if code.ends_with("_unknown") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One page of a list.
    async fn list<T: DeserializeOwned>(
        &self,
        name: &'static str,
        window: Window,
        cursor: Option<&str>,
    ) -> Result<ProviderPage<T>, ProviderError> {
        let formatted = |at: OffsetDateTime| {
            at.format(&Rfc3339).map_err(|error| ProviderError::Unreachable(format!("{at}: {error}")))
        };
        let mut call = Call::get(format!("v1/{name}"))
            .query("since", &formatted(window.since)?)
            .query("until", &formatted(window.until)?)
            .query("limit", PAGE);
        if let Some(cursor) = cursor {
            call = call.query("cursor", cursor);
        }
        self.call(name, call).await
    }
}

fn body(order: &ChargeOrder) -> serde_json::Value {
    json!({
        "token": order.token,
        "amount": order.amount,
        "currency": order.currency,
        "reference": order.reference,
    })
}

#[async_trait]
impl PaymentProvider for HttpProvider {
    async fn authorize(&self, order: &ChargeOrder) -> Result<Authorization, ProviderError> {
        let call = moving(order.idempotency_key, "v1/authorizations").value(body(order));
        self.call("authorize", call).await
    }

    async fn capture(&self, key: Uuid, authorization_id: &str) -> Result<Charge, ProviderError> {
        let path = format!("v1/authorizations/{authorization_id}/captures");
        self.call("capture", moving(key, path)).await
    }

    async fn void(&self, key: Uuid, authorization_id: &str) -> Result<Authorization, ProviderError> {
        let path = format!("v1/authorizations/{authorization_id}/voids");
        self.call("void", moving(key, path)).await
    }

    async fn charge(&self, order: &ChargeOrder) -> Result<Charge, ProviderError> {
        self.call("charge", moving(order.idempotency_key, "v1/charges").value(body(order))).await
    }

    async fn settle(&self, reference: Uuid) -> Result<Option<Charge>, ProviderError> {
        let call = Call::post("v1/voids").value(json!({ "reference": reference }));
        Ok(self.call::<Voided>("settle", call).await?.charge)
    }

    async fn refund(&self, key: Uuid, charge_id: &str, amount: i64) -> Result<String, ProviderError> {
        let path = format!("v1/charges/{charge_id}/refunds");
        let call = moving(key, path).value(json!({ "amount": amount }));
        Ok(self.call::<RefundMade>("refund", call).await?.id)
    }

    async fn find_charge(&self, id: &str) -> Result<Option<Charge>, ProviderError> {
        self.find("find_charge", format!("v1/charges/{id}")).await
    }

    async fn find_authorization(&self, id: &str) -> Result<Option<Authorization>, ProviderError> {
        self.find("find_authorization", format!("v1/authorizations/{id}")).await
    }

    async fn charges(
        &self,
        window: Window,
        cursor: Option<&str>,
    ) -> Result<ProviderPage<Charge>, ProviderError> {
        self.list("charges", window, cursor).await
    }

    async fn authorizations(
        &self,
        window: Window,
        cursor: Option<&str>,
    ) -> Result<ProviderPage<Authorization>, ProviderError> {
        self.list("authorizations", window, cursor).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: StatusCode, whole: &'static str) -> ProviderError {
        CallError::Status { name: "provider", status, body: String::new(), whole: whole.into() }.into()
    }

    #[test]
    fn what_was_never_sent_is_told_apart_from_what_may_have_happened() {
        let open: ProviderError = CallError::CircuitOpen { name: "provider" }.into();
        assert!(matches!(open, ProviderError::Unreachable(_)), "{open}");
        let too_long: ProviderError = CallError::TooLong { name: "provider", most: 1 }.into();
        assert!(matches!(too_long, ProviderError::Unknown(_)), "{too_long}");
    }

    #[test]
    fn only_the_provider_refuses_and_only_for_good() {
        let words = r#"{"code": "charge_unknown", "message": "no such charge"}"#;
        let refused = answered(StatusCode::NOT_FOUND, words);
        assert!(
            matches!(&refused, ProviderError::Refused { code, .. } if code == "charge_unknown"),
            "{refused}"
        );
        let gateway = answered(StatusCode::NOT_FOUND, "<html>");
        assert!(matches!(gateway, ProviderError::Unknown(_)), "{gateway}");
        for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE, StatusCode::FOUND] {
            let unknown = answered(status, words);
            assert!(matches!(unknown, ProviderError::Unknown(_)), "{unknown}");
        }
    }
}
