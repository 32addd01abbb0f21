//! Log lines and metrics.
//!
//! kube's controllers run each reconcile inside a span that names the object, so every line of a reconcile
//! says which object it is about.

pub mod of_objects;

use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::LogFormat;

/// Duration of reconciles, in seconds, by `controller`.
pub const RECONCILE_SECONDS: &str = "rocketmart_operator_reconcile_seconds";
/// Reconciles that failed, by `controller` and `error` (the kind of error).
pub const RECONCILE_ERRORS: &str = "rocketmart_operator_reconcile_errors_total";
/// Writes to the API server, by `kind` and `verb`.
pub const WRITES: &str = "rocketmart_operator_writes_total";
/// Requests to the API server, by `verb` and `resource`, including the election's.
pub const API_REQUESTS: &str = "rocketmart_operator_api_requests_total";
/// Objects that wait for their turn, by `controller`.
pub const QUEUE: &str = "rocketmart_operator_queue_length";
/// 1 on the replica that leads.
pub const LEADER: &str = "rocketmart_operator_leader";

/// Replicas that the autoscaler decided on, by `namespace`, `shop` and `component`.
pub const DESIRED_REPLICAS: &str = "rocketmart_operator_desired_replicas";
/// Replicas that are ready, of autoscaled components.
pub const READY_REPLICAS: &str = "rocketmart_operator_ready_replicas";
/// How many messages the consumer group of an autoscaled component is behind.
pub const LAG: &str = "rocketmart_operator_lag_messages";

/// Units of a sale that are nowhere or counted twice, by `namespace` and `sale`. It is 0 unless a book is
/// wrong.
pub const DRIFT: &str = "rocketmart_operator_invariant_drift_units";
/// Differences between Redis and PostgreSQL that the order service reports for a sale.
pub const DIFFERENCES: &str = "rocketmart_operator_sale_differences";
/// Deleted sales that were let go without settling; their units stay allotted.
pub const GIVEN_UP: &str = "rocketmart_operator_sales_given_up_total";
/// 1 for each open readiness gate, by `gate`.
pub const GATE: &str = "rocketmart_operator_ready_gate";

/// The name that every Prometheus client uses.
const RESIDENT_MEMORY: &str = "process_resident_memory_bytes";

/// Starts logging (`RUST_LOG` selects what; by default everything from `info` up) and recording metrics.
pub fn init(format: LogFormat) -> anyhow::Result<PrometheusHandle> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => {
            registry.with(tracing_subscriber::fmt::layer().json().with_span_list(false)).try_init()
        }
        LogFormat::Text => registry.with(tracing_subscriber::fmt::layer()).try_init(),
    }
    .context("starting the log")?;
    let metrics = PrometheusBuilder::new()
        .set_buckets(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])?
        .install_recorder()
        .context("starting the metrics")?;
    metrics::describe_histogram!(RECONCILE_SECONDS, metrics::Unit::Seconds, "Time of reconciles");
    metrics::describe_counter!(RECONCILE_ERRORS, "Reconciles that failed");
    metrics::describe_counter!(WRITES, "Writes to the API server");
    metrics::describe_counter!(API_REQUESTS, "Requests to the API server");
    metrics::describe_gauge!(QUEUE, "Objects that wait for their turn to be reconciled");
    metrics::describe_gauge!(RESIDENT_MEMORY, metrics::Unit::Bytes, "Resident memory of this process");
    metrics::describe_gauge!(LEADER, "1 on the replica that leads");
    metrics::describe_counter!(GIVEN_UP, "Deleted sales that were let go without settling");
    metrics::describe_gauge!(GATE, "1 for a gate of readiness that is open");
    metrics::describe_gauge!(LAG, "Messages that a consumer group is behind");
    metrics::describe_gauge!(DESIRED_REPLICAS, "Replicas that the autoscaler decided on");
    metrics::describe_gauge!(READY_REPLICAS, "Replicas that are ready");
    // The counter starts at zero, so an alert sees the first increment too.
    metrics::counter!(GIVEN_UP).increment(0);
    Ok(metrics)
}

/// The metrics in Prometheus' format, with the memory that the process holds now.
pub fn render(metrics: &PrometheusHandle) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(bytes) = resident_bytes(&status) {
        metrics::gauge!(RESIDENT_MEMORY).set(bytes);
    }
    metrics.render() + &of_objects::render()
}

fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib * 1024.0)
}

/// Folds observed times into buckets now and then, so they do not pile up while nobody asks for metrics.
/// Never ends.
pub async fn keep_up(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        metrics.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::resident_bytes;

    #[test]
    fn memory_is_read_from_the_kernels_words() {
        let status = "Name:\toperator\nVmHWM:\t    9999 kB\nVmRSS:\t   41984 kB\nThreads:\t9\n";
        assert_eq!(resident_bytes(status), Some(42_991_616.0));
        assert_eq!(resident_bytes("VmRSS:\tmuch"), None);
    }
}
