//! HTTP calls between services and to the outside.
//!
//! Every call has a time-out. Calls that are safe to repeat (GET, PUT, DELETE, or any with an
//! idempotency key) are repeated a few times with growing, jittered pauses. A circuit breaker
//! answers for a neighbour that keeps failing, so that it is not hit while it is down. The trace
//! is carried along.

use std::time::Duration;

use anyhow::Context;
use backon::{ExponentialBuilder, Retryable};
use failsafe::futures::CircuitBreaker as _;
use failsafe::{Config, StateMachine, backoff, failure_policy};
use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::extract::IdempotencyKey;
use crate::trace::{self, TRACEPARENT};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Repetitions of a call after its first failure.
const RETRIES: usize = 3;
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Failures in a row that open the circuit.
const FAILURES_TO_OPEN: u32 = 5;
/// How long the circuit stays open before one call may try; grows while it fails. The breaker counts in
/// whole seconds and jitters half of them, so that less than two would be no pause at all.
const OPEN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The neighbour failed too often lately; it was not called.
    #[error("{name} is not called: it failed too often lately")]
    CircuitOpen { name: &'static str },
    /// No answer. Whether the call had an effect is unknown.
    #[error("{name} gave no answer")]
    NoAnswer {
        name: &'static str,
        #[source]
        source: reqwest::Error,
    },
    /// An answer that is no success.
    #[error("{name} answered {status}: {body}")]
    Status { name: &'static str, status: StatusCode, body: String },
    /// A success whose body is not what was expected.
    #[error("{name} answered with a body that is not understood")]
    Body {
        name: &'static str,
        #[source]
        source: serde_json::Error,
    },
}

impl CallError {
    /// Whether the neighbour, and not the call, is at fault.
    fn is_outage(&self) -> bool {
        match self {
            Self::NoAnswer { .. } => true,
            Self::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::CircuitOpen { .. } | Self::Body { .. } => false,
        }
    }
}

/// A call to be made.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    body: Option<serde_json::Value>,
    headers: Vec<(&'static str, String)>,
    repeatable: bool,
}

impl Call {
    fn new(method: Method, path: impl Into<String>, repeatable: bool) -> Self {
        Self { method, path: path.into(), body: None, headers: Vec::new(), repeatable }
    }

    /// `path` is joined to the client's base and may hold a query.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, true)
    }

    /// Made once, unless it carries an [idempotency key](Self::idempotency_key).
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path, false)
    }

    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path, true)
    }

    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path, true)
    }

    /// A JSON body.
    ///
    /// # Errors
    /// When `body` has no JSON form.
    pub fn json(mut self, body: &impl Serialize) -> serde_json::Result<Self> {
        self.body = Some(serde_json::to_value(body)?);
        Ok(self)
    }

    pub fn bearer(mut self, token: &str) -> Self {
        self.headers.push(("authorization", format!("Bearer {token}")));
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Lets the receiver recognize repetitions, so that the call may be repeated.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.headers.push((IdempotencyKey::HEADER, key.into()));
        self.repeatable = true;
        self
    }
}

type Breaker = StateMachine<failure_policy::ConsecutiveFailures<backoff::EqualJittered>, ()>;

/// Calls one neighbour; clones share its connections and its circuit.
#[derive(Clone)]
pub struct Client {
    base: Url,
    name: &'static str,
    http: reqwest::Client,
    breaker: Breaker,
}

impl Client {
    /// `base` is where paths start; `name` is what the neighbour is called in logs and metrics.
    pub fn new(base: Url, name: &'static str) -> anyhow::Result<Self> {
        Self::with_timeout(base, name, CALL_TIMEOUT)
    }

    /// A client whose calls take at most `timeout` each, repetitions not counted.
    pub fn with_timeout(mut base: Url, name: &'static str, timeout: Duration) -> anyhow::Result<Self> {
        crate::telemetry::install_crypto_provider();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("cannot create an HTTP client")?;
        let policy =
            failure_policy::consecutive_failures(FAILURES_TO_OPEN, backoff::equal_jittered(OPEN.0, OPEN.1));
        let breaker = Config::new().failure_policy(policy).build();
        Ok(Self { base, name, http, breaker })
    }

    /// Makes a call and parses the body of its answer.
    pub async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, CallError> {
        let body = self.send(call).await?;
        serde_json::from_slice(&body).map_err(|source| CallError::Body { name: self.name, source })
    }

    /// Makes a call; the body of its answer.
    pub async fn send(&self, call: Call) -> Result<bytes::Bytes, CallError> {
        let started = std::time::Instant::now();
        let retries = if call.repeatable { RETRIES } else { 0 };
        let pauses = ExponentialBuilder::default()
            .with_min_delay(RETRY_PAUSE.0)
            .with_max_delay(RETRY_PAUSE.1)
            .with_max_times(retries)
            .with_jitter();
        let outcome = (|| self.guarded(&call)).retry(pauses).when(CallError::is_outage).await;
        let result = if outcome.is_ok() { "ok" } else { "error" };
        metrics::histogram!("http_client_seconds", "to" => self.name, "result" => result)
            .record(started.elapsed());
        outcome
    }

    async fn guarded(&self, call: &Call) -> Result<bytes::Bytes, CallError> {
        self.breaker.call_with(CallError::is_outage, self.attempt(call)).await.map_err(|error| match error {
            failsafe::Error::Inner(error) => error,
            failsafe::Error::Rejected => CallError::CircuitOpen { name: self.name },
        })
    }

    async fn attempt(&self, call: &Call) -> Result<bytes::Bytes, CallError> {
        let no_answer = |source| CallError::NoAnswer { name: self.name, source };
        let mut request = self.http.request(call.method.clone(), self.url(&call.path));
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some(context) = trace::current() {
            request = request.header(TRACEPARENT, context.child().to_string());
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(no_answer)?;
        let status = response.status();
        let body = response.bytes().await.map_err(no_answer)?;
        if status.is_success() {
            Ok(body)
        } else {
            let body = String::from_utf8_lossy(&body).chars().take(500).collect();
            Err(CallError::Status { name: self.name, status, body })
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{}", self.base, path.trim_start_matches('/'))
    }
}
