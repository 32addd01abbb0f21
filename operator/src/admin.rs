//! Probes and metrics of the operator.
//!
//! `/healthz` says that the process is alive. `/readyz` names the gates that are still closed. A standby is
//! ready too: it is ready to take over.

use std::{collections::BTreeSet, fmt, sync::Arc};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use rocketmart_server::ConnectionLimits;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::telemetry;

/// What has to be in place before the operator reports itself ready.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Gate {
    /// The API server answered.
    ApiServer,
    /// This replica leads, or knows that another one does.
    Election,
    /// Nobody has asked the process to stop.
    Running,
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiServer => "api-server",
            Self::Election => "election",
            Self::Running => "running",
        })
    }
}

/// Which gates are open and which are not.
#[derive(Clone, Debug)]
pub struct Readiness {
    closed: Arc<watch::Sender<BTreeSet<Gate>>>,
}

impl Default for Readiness {
    fn default() -> Self {
        let closed = BTreeSet::from([Gate::ApiServer, Gate::Election]);
        Self { closed: Arc::new(watch::Sender::new(closed)) }
    }
}

impl Readiness {
    pub fn open(&self, gate: Gate) {
        self.closed.send_modify(|closed| _ = closed.remove(&gate));
        metrics::gauge!(telemetry::GATE, "gate" => gate.to_string()).set(1);
    }

    pub fn close(&self, gate: Gate) {
        self.closed.send_modify(|closed| _ = closed.insert(gate));
        metrics::gauge!(telemetry::GATE, "gate" => gate.to_string()).set(0);
    }

    /// The names of the closed gates; `None` when all are open.
    fn missing(&self) -> Option<String> {
        let closed = self.closed.borrow();
        let names: Vec<_> = closed.iter().map(ToString::to_string).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    metrics: PrometheusHandle,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    rocketmart_server::serve(listener, router(readiness, metrics), ConnectionLimits::ADMIN, stop).await;
    Ok(())
}

fn router(readiness: Readiness, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/healthz", get(|| std::future::ready("ok")))
        .route("/readyz", get(readyz))
        .with_state(readiness)
        .route("/metrics", get(move || std::future::ready(telemetry::render(&metrics))))
}

async fn readyz(State(readiness): State<Readiness>) -> (StatusCode, String) {
    match readiness.missing() {
        None => (StatusCode::OK, "ok".to_owned()),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {missing}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_the_gates_that_are_closed() {
        let readiness = Readiness::default();
        assert_eq!(readiness.missing().as_deref(), Some("api-server, election"));
        readiness.open(Gate::ApiServer);
        readiness.open(Gate::Election);
        assert_eq!(readiness.missing(), None);
        readiness.close(Gate::Running);
        assert_eq!(readiness.missing().as_deref(), Some("running"));
    }
}
