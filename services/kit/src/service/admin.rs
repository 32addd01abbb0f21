//! `/livez`, `/readyz` and `/metrics`, on a listener that the entrance never routes to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::future::join_all;
use http::{StatusCode, header};
use serde::Serialize;

use super::BoxFuture;
use crate::startup::Waiting;
use crate::telemetry;

/// A gate that takes longer than this counts as closed.
const GATE_TIMEOUT: Duration = Duration::from_secs(2);

type Check = Box<dyn Fn() -> BoxFuture<anyhow::Result<()>> + Send + Sync>;

/// One condition of readiness.
pub(super) struct Gate {
    name: &'static str,
    needed: bool,
    check: Check,
}

impl Gate {
    /// `needed`: the process can do nothing without it, so it is not ready while it is missing.
    pub(super) fn new<F, Fut>(name: &'static str, needed: bool, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self { name, needed, check: Box::new(move || Box::pin(check())) }
    }

    async fn missing(&self) -> Option<(bool, Missing)> {
        let reason = match tokio::time::timeout(GATE_TIMEOUT, (self.check)()).await {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer within {} s", GATE_TIMEOUT.as_secs()),
        };
        Some((self.needed, Missing { name: self.name, reason }))
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
    /// What else is down, but only part of the work needs it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<Missing>,
}

/// What the process waits for while it starts, then its gates, and whether it is shutting down.
#[derive(Clone, Default)]
pub(super) struct Readiness {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    waiting: Waiting,
    gates: OnceLock<Vec<Gate>>,
    draining: AtomicBool,
}

impl Readiness {
    /// Where to note what the process waits for at the start.
    pub(super) fn waiting(&self) -> &Waiting {
        &self.shared.waiting
    }

    /// The process has started; from now on the gates count.
    pub(super) fn started(&self, gates: Vec<Gate>) {
        // Only the first call counts.
        let _ = self.shared.gates.set(gates);
    }

    /// From now on the process is not ready.
    pub(super) fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    async fn report(&self) -> ReadinessReport {
        let Shared { waiting, gates, draining } = &*self.shared;
        let (mut missing, mut degraded) = (Vec::new(), Vec::new());
        if let Some(gates) = gates.get() {
            for (needed, what) in join_all(gates.iter().map(Gate::missing)).await.into_iter().flatten() {
                if needed { missing.push(what) } else { degraded.push(what) }
            }
        } else {
            missing.extend(waiting.list().into_iter().map(|(name, reason)| Missing { name, reason }));
            missing.push(Missing { name: "running", reason: "the process is starting".to_owned() });
        }
        if draining.load(Ordering::Relaxed) {
            missing.push(Missing { name: "running", reason: "the process is stopping".to_owned() });
        }
        ReadinessReport { ready: missing.is_empty(), missing, degraded }
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
