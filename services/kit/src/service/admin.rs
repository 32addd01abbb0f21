//! `/livez`, `/readyz` and `/metrics`, on a listener that the entrance never routes to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::future::join_all;
use http::{StatusCode, header};
use serde::Serialize;

use super::BoxFuture;
use crate::telemetry;

/// A gate that takes longer than this counts as closed.
const GATE_TIMEOUT: Duration = Duration::from_secs(2);

type Check = Box<dyn Fn() -> BoxFuture<anyhow::Result<()>> + Send + Sync>;

/// One condition of readiness.
pub(super) struct Gate {
    name: &'static str,
    check: Check,
}

impl Gate {
    pub(super) fn new<F, Fut>(name: &'static str, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self { name, check: Box::new(move || Box::pin(check())) }
    }

    async fn missing(&self) -> Option<Missing> {
        let reason = match tokio::time::timeout(GATE_TIMEOUT, (self.check)()).await {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer within {} s", GATE_TIMEOUT.as_secs()),
        };
        Some(Missing { name: self.name, reason })
    }
}

/// What keeps a process from being ready.
#[derive(Debug, Serialize)]
struct Missing {
    name: &'static str,
    reason: String,
}

#[derive(Debug, Serialize)]
struct ReadinessReport {
    ready: bool,
    missing: Vec<Missing>,
}

/// The gates, and whether the process is on its way out.
#[derive(Clone)]
pub(super) struct Readiness {
    shared: Arc<(Vec<Gate>, AtomicBool)>,
}

impl Readiness {
    pub(super) fn new(gates: Vec<Gate>) -> Self {
        Self { shared: Arc::new((gates, AtomicBool::new(false))) }
    }

    /// From now on the process is not ready.
    pub(super) fn drain(&self) {
        self.shared.1.store(true, Ordering::Relaxed);
    }

    async fn report(&self) -> ReadinessReport {
        let (gates, draining) = &*self.shared;
        let mut missing: Vec<_> =
            join_all(gates.iter().map(Gate::missing)).await.into_iter().flatten().collect();
        if draining.load(Ordering::Relaxed) {
            missing.push(Missing { name: "running", reason: "the process is stopping".to_owned() });
        }
        ReadinessReport { ready: missing.is_empty(), missing }
    }
}

pub(super) fn router(readiness: Readiness) -> Router {
    Router::new()
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(readiness)
}

async fn readyz(State(readiness): State<Readiness>) -> Response {
    let report = readiness.report().await;
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

async fn metrics() -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, telemetry::metrics_handle().render()).into_response()
}
