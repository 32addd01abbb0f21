//! HTTP calls between services and to the outside.
//!
//! ```text
//! Call ──▶ circuit ──▶ attempt ──▶ answer
//!            ▲  └ open: CircuitOpen, nothing was sent
//!            └── pause ◀── outage, if the call may be repeated
//! ```
//! Every call has a time-out. Calls that are safe to repeat (GET, PUT, DELETE, or any with an idempotency
//! key) are retried a few times, with growing, jittered pauses. When a neighbour keeps failing, a circuit
//! breaker answers in its place, so that we do not hit it while it is down. The trace travels along.

mod call;
mod error;

use std::time::Duration;

use anyhow::Context;
use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::{Bytes, BytesMut};
use failsafe::futures::CircuitBreaker as _;
use failsafe::{Config, StateMachine, backoff, failure_policy};
use serde::de::DeserializeOwned;
use url::Url;

pub use call::Call;
pub use error::CallError;

use crate::trace::{self, TRACEPARENT};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST_ANSWER: usize = 4 << 20;
const RETRIES: usize = 3;
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
const FAILURES_TO_OPEN: u32 = 5;
/// How long the circuit stays open before one call may try; it grows while calls fail. The breaker counts in
/// whole seconds and jitters half of them, so anything below two would be no pause at all.
const OPEN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));

/// What the calls of a client may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest wait for a connection.
    pub connect: Duration,
    /// Longest wait for a whole answer. That includes the connection, but not the retries.
    pub timeout: Duration,
    /// Longest answer that is read, in bytes.
    pub answer: usize,
    /// Idle connections kept for later.
    pub idle: usize,
    /// Retries after the first failure, if the call may be repeated. 0 is for callers that retry by
    /// themselves.
    pub retries: usize,
    /// Failures in a row that open the circuit. `None` means no circuit, for callers that pace themselves.
    pub circuit: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: CONNECT_TIMEOUT,
            timeout: CALL_TIMEOUT,
            answer: LONGEST_ANSWER,
            idle: usize::MAX,
            retries: RETRIES,
            circuit: Some(FAILURES_TO_OPEN),
        }
    }
}

type Breaker = StateMachine<failure_policy::ConsecutiveFailures<backoff::EqualJittered>, ()>;

/// Calls one neighbour; clones share its connections and its circuit.
#[derive(Clone)]
pub struct Client {
    base: Url,
    name: &'static str,
    http: reqwest::Client,
    limits: Limits,
    breaker: Option<Breaker>,
}

impl Client {
    /// Paths start at `base`. Logs and metrics call the neighbour `name`.
    pub fn new(base: Url, name: &'static str) -> anyhow::Result<Self> {
        Self::with_limits(base, name, Limits::default())
    }

    /// A client whose calls take at most `timeout` each, retries not counted.
    pub fn with_timeout(base: Url, name: &'static str, timeout: Duration) -> anyhow::Result<Self> {
        Self::with_limits(base, name, Limits { timeout, ..Limits::default() })
    }

    pub fn with_limits(mut base: Url, name: &'static str, limits: Limits) -> anyhow::Result<Self> {
        // Paths are appended to what is left.
        base.set_query(None);
        base.set_fragment(None);
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(limits.connect)
            .timeout(limits.timeout)
            .pool_max_idle_per_host(limits.idle)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("cannot create an HTTP client")?;
        Ok(Self { base, name, http, limits, breaker: limits.circuit.map(breaker) })
    }

    /// Makes a call and parses the body of its answer.
    pub async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, CallError> {
        let body = self.send(call).await?;
        serde_json::from_slice(&body).map_err(|source| CallError::Body { name: self.name, source })
    }

    /// Makes a call and returns the body of its answer.
    pub async fn send(&self, call: Call) -> Result<Bytes, CallError> {
        let started = std::time::Instant::now();
        let outcome = self.repeated(&call).await;
        let result = if outcome.is_ok() { "ok" } else { "error" };
        metrics::histogram!("http_client_seconds", "to" => self.name, "result" => result)
            .record(started.elapsed());
        outcome
    }

    async fn repeated(&self, call: &Call) -> Result<Bytes, CallError> {
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(RETRY_PAUSE.0)
            .with_max_delay(RETRY_PAUSE.1)
            .with_max_times(if call.repeatable { self.limits.retries } else { 0 })
            .with_jitter()
            .build();
        // An attempt that may have arrived outweighs later ones that certainly did not: from then on the
        // outcome of the call is unknown.
        let mut arrived = None;
        loop {
            let error = match self.guarded(call).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            let pause = if error.is_outage() { pauses.next() } else { None };
            let last = if error.may_have_arrived() { error } else { arrived.take().unwrap_or(error) };
            let Some(pause) = pause else { return Err(last) };
            arrived = last.may_have_arrived().then_some(last);
            tokio::time::sleep(pause).await;
        }
    }

    async fn guarded(&self, call: &Call) -> Result<Bytes, CallError> {
        let Some(breaker) = &self.breaker else { return self.attempt(call).await };
        breaker.call_with(CallError::is_outage, self.attempt(call)).await.map_err(|error| match error {
            failsafe::Error::Inner(error) => error,
            failsafe::Error::Rejected => CallError::CircuitOpen { name: self.name },
        })
    }

    async fn attempt(&self, call: &Call) -> Result<Bytes, CallError> {
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
        let response = request.send().await.map_err(|source| self.no_answer(source))?;
        let status = response.status();
        let body = self.read(response).await?;
        if status.is_success() { Ok(body) } else { Err(CallError::status(self.name, status, body)) }
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Bytes, CallError> {
        let most = self.limits.answer;
        let mut body = BytesMut::new();
        while let Some(part) = response.chunk().await.map_err(|source| self.no_answer(source))? {
            if body.len() + part.len() > most {
                return Err(CallError::TooLong { name: self.name, most });
            }
            body.extend_from_slice(&part);
        }
        Ok(body.freeze())
    }

    fn no_answer(&self, source: reqwest::Error) -> CallError {
        CallError::NoAnswer { name: self.name, source }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{}", self.base, path.trim_start_matches('/'))
    }
}

fn breaker(failures: u32) -> Breaker {
    let policy = failure_policy::consecutive_failures(failures, backoff::equal_jittered(OPEN.0, OPEN.1));
    Config::new().failure_policy(policy).build()
}
