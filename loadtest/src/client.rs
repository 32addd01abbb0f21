//! A small HTTP client for many shoppers: keep-alive connections to one address, JSON in and out.
//!
//! The address and the `Host` differ on purpose: the entrance of a local cluster is reached by address and
//! routes by host name. Without an entrance, [`Client::routed`] itself knows the services.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

/// How long a shopper waits for an answer; after that the outcome is unknown.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client of one HTTP service; cheap to clone, clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    routes: Arc<[Route]>,
    host: Option<HeaderValue>,
}

/// The first part of a path, and the replicas that take turns answering it.
#[derive(Debug)]
struct Route {
    prefix: String,
    bases: Vec<String>,
    turn: AtomicUsize,
}

impl Route {
    fn new(prefix: &str, bases: &[impl AsRef<str>]) -> Self {
        let bases = bases.iter().map(|base| base.as_ref().trim_end_matches('/').to_owned()).collect();
        Self { prefix: prefix.to_owned(), bases, turn: AtomicUsize::new(0) }
    }

    fn leads(&self, path: &str) -> bool {
        path.strip_prefix(&self.prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
            || self.prefix.is_empty()
    }

    fn next(&self) -> Option<&str> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.bases.get(turn % self.bases.len().max(1)).map(String::as_str)
    }
}

/// An answer: its status and its body (`Null` when empty).
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
    /// Seconds, if a refusal says when to come back.
    pub retry_after: Option<u64>,
}

impl Answer {
    /// The body, if the request succeeded.
    pub fn expect_success(self, what: &str) -> Result<Value> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        bail!("{what}: {} {}", self.status, self.body)
    }

    /// The stable code of a problem, or an empty string.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

/// What a request needs besides its path.
#[derive(Debug, Clone, Copy, Default)]
pub struct Call<'a> {
    pub token: Option<&'a str>,
    pub idempotency_key: Option<&'a str>,
    pub if_match: Option<&'a str>,
    pub body: Option<&'a Value>,
}

impl Client {
    /// `base` is for instance `http://127.0.0.1`. If `host` is given, it replaces the address in the `Host`
    /// header.
    pub fn new(base: &str, host: Option<&str>) -> Result<Self> {
        let host = host.map(HeaderValue::from_str).transpose().context("a host name")?;
        Ok(Self::to(vec![Route::new("", &[base])], host))
    }

    /// A shop without an entrance: which replicas answer which first part of a path. Nobody answers any other
    /// path.
    pub fn routed<'a>(routes: impl IntoIterator<Item = (&'a str, Vec<String>)>) -> Self {
        Self::to(routes.into_iter().map(|(prefix, bases)| Route::new(prefix, &bases)).collect(), None)
    }

    fn to(routes: Vec<Route>, host: Option<HeaderValue>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(PATIENCE));
        let pool = Pool::builder(TokioExecutor::new()).pool_max_idle_per_host(512).build(connector);
        Self { pool, routes: routes.into(), host }
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> Result<Answer> {
        self.send(Method::GET, path, Call { token, ..Call::default() }).await
    }

    /// Sends a request. After an error the outcome is unknown.
    pub async fn send(&self, method: Method, path: &str, call: Call<'_>) -> Result<Answer> {
        let base = self.routes.iter().find(|route| route.leads(path)).and_then(Route::next);
        let base = base.with_context(|| format!("nobody answers {path}"))?;
        let mut request = Request::builder().method(method).uri(format!("{base}{path}"));
        if let Some(host) = &self.host {
            request = request.header(header::HOST, host);
        }
        if let Some(token) = call.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(key) = call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if let Some(version) = call.if_match {
            request = request.header(header::IF_MATCH, version);
        }
        let body = match call.body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Bytes::from(serde_json::to_vec(body)?)
            }
            None => Bytes::new(),
        };
        let request = request.body(Full::new(body))?;
        tokio::time::timeout(PATIENCE, self.exchange(request)).await.context("no answer in time")?
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let response = self.pool.request(request).await?;
        let status = response.status();
        let retry_after =
            response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes = response.into_body().collect().await?.to_bytes();
        // A proxy's own error page is not JSON, but its text is worth keeping.
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()))
        };
        Ok(Answer { status, body, retry_after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_leads_whole_segments_and_its_replicas_take_turns() {
        let route = Route::new("/api/v1/me", &["http://a/", "http://b"]);
        assert!(route.leads("/api/v1/me") && route.leads("/api/v1/me/password"));
        assert!(!route.leads("/api/v1/members"));
        assert_eq!(
            [route.next(), route.next(), route.next()],
            [Some("http://a"), Some("http://b"), Some("http://a")]
        );
        assert!(Route::new("", &["http://a"]).leads("/anything"));
    }
}
