//! The provider over HTTP.

use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::{Authorization, Charge, ChargeOrder, PaymentProvider, ProviderError, ProviderPage, Window, wire};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const PAGE: &str = "1000";
/// The largest answer that is read: a page of charges is some 400 kB.
const LONGEST_ANSWER: usize = 4 << 20;

/// A client with pooled connections; every call ends within its time-out.
pub struct HttpProvider {
    http: reqwest::Client,
    base: Url,
}

impl HttpProvider {
    /// `base` is the provider's address without `/v1`; `timeout` limits a whole call.
    pub fn new(base: &Url, timeout: Duration) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .pool_max_idle_per_host(512)
            .build()
            .context("building the provider's HTTP client")?;
        let mut base = base.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        base.join("v1/").context("PAYMENT_PROVIDER_URL must be an http address")?;
        Ok(Self { http, base })
    }

    fn url(&self, path: &str) -> Result<Url, ProviderError> {
        self.base.join(path).map_err(|error| ProviderError::Unreachable(format!("{path}: {error}")))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        name: &'static str,
        request: RequestBuilder,
    ) -> Result<T, ProviderError> {
        let started = std::time::Instant::now();
        let answer = exchange(request).await;
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

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

async fn exchange<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, ProviderError> {
    let response = request.send().await.map_err(|error| {
        // Only a failed connect proves that nothing was sent; any later error leaves it open.
        if error.is_connect() {
            ProviderError::Unreachable(chain(&error))
        } else {
            ProviderError::Unknown(chain(&error))
        }
    })?;
    let status = response.status();
    let body = read(response).await?;
    if status.is_success() {
        return serde_json::from_slice(&body)
            .map_err(|error| ProviderError::Unknown(wire::message(&error.to_string())));
    }
    let may_succeed_later = status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if may_succeed_later || !status.is_client_error() {
        return Err(ProviderError::Unknown(format!("HTTP {status}")));
    }
    // Only the provider itself refuses, in its own words; a gateway in between says nothing about it.
    match serde_json::from_slice::<Refusal>(&body) {
        Ok(refusal) if wire::is_code(&refusal.code) => {
            Err(ProviderError::Refused { code: refusal.code, message: wire::message(&refusal.message) })
        }
        _ => Err(ProviderError::Unknown(format!("HTTP {status}"))),
    }
}

async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, ProviderError> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| ProviderError::Unknown(chain(&error)))? {
        if body.len() + part.len() > LONGEST_ANSWER {
            return Err(ProviderError::Unknown(format!("an answer of more than {LONGEST_ANSWER} bytes")));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// An HTTP error hides what happened in its causes.
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

impl HttpProvider {
    /// A call that moves money, hence has a key.
    fn moving(&self, key: Uuid, path: &str) -> Result<RequestBuilder, ProviderError> {
        Ok(self.http.post(self.url(path)?).header("idempotency-key", key.to_string()))
    }

    /// Something by its id; what the provider says it does not know is `None`.
    async fn find<T: DeserializeOwned>(
        &self,
        name: &'static str,
        path: &str,
    ) -> Result<Option<T>, ProviderError> {
        match self.call(name, self.http.get(self.url(path)?)).await {
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
        let mut query = vec![
            ("since", formatted(window.since)?),
            ("until", formatted(window.until)?),
            ("limit", PAGE.to_owned()),
        ];
        if let Some(cursor) = cursor {
            query.push(("cursor", cursor.to_owned()));
        }
        self.call(name, self.http.get(self.url(&format!("v1/{name}"))?).query(&query)).await
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
        let request = self.moving(order.idempotency_key, "v1/authorizations")?.json(&body(order));
        self.call("authorize", request).await
    }

    async fn capture(&self, key: Uuid, authorization_id: &str) -> Result<Charge, ProviderError> {
        let path = format!("v1/authorizations/{authorization_id}/captures");
        self.call("capture", self.moving(key, &path)?).await
    }

    async fn void(&self, key: Uuid, authorization_id: &str) -> Result<Authorization, ProviderError> {
        let path = format!("v1/authorizations/{authorization_id}/voids");
        self.call("void", self.moving(key, &path)?).await
    }

    async fn charge(&self, order: &ChargeOrder) -> Result<Charge, ProviderError> {
        self.call("charge", self.moving(order.idempotency_key, "v1/charges")?.json(&body(order))).await
    }

    async fn settle(&self, reference: Uuid) -> Result<Option<Charge>, ProviderError> {
        let request = self.http.post(self.url("v1/voids")?).json(&json!({ "reference": reference }));
        Ok(self.call::<Voided>("settle", request).await?.charge)
    }

    async fn refund(&self, key: Uuid, charge_id: &str, amount: i64) -> Result<String, ProviderError> {
        let path = format!("v1/charges/{charge_id}/refunds");
        let request = self.moving(key, &path)?.json(&json!({ "amount": amount }));
        Ok(self.call::<RefundMade>("refund", request).await?.id)
    }

    async fn find_charge(&self, id: &str) -> Result<Option<Charge>, ProviderError> {
        self.find("find_charge", &format!("v1/charges/{id}")).await
    }

    async fn find_authorization(&self, id: &str) -> Result<Option<Authorization>, ProviderError> {
        self.find("find_authorization", &format!("v1/authorizations/{id}")).await
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
