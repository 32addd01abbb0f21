//! Logs and metrics: what a process installs once, before anything else.
//!
//! Logs go to standard output (`LOG_FORMAT` `json` or `text`, filtered by `RUST_LOG`, `info` when unset).
//! Metrics go through the `metrics` facade to one Prometheus recorder, which the admin listener renders.
//! Everything here may be called again, as tests in one process do.

mod request;

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::format;

use crate::security_log;
pub(crate) use request::Request;

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Upper bounds of `*_seconds` histograms: a purchase takes milliseconds, a time-out seconds.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of `*_size` histograms (messages in a batch).
const SIZES: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0];

/// Installs the metrics recorder and the log subscriber.
pub fn init(component: &str) {
    metrics_handle();
    init_logging();
    metrics::gauge!("rocketmart_info", "component" => component.to_owned(), "version" => env!("CARGO_PKG_VERSION"))
        .set(1.0);
    tracing::info!(component, version = env!("CARGO_PKG_VERSION"), "starting");
}

/// The recorder's handle; installs the recorder on first use.
pub fn metrics_handle() -> &'static PrometheusHandle {
    METRICS.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &SIZES))
            // Only empty bucket lists are refused.
            .unwrap_or_else(|_impossible| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed; /metrics stays empty");
        }
        handle
    })
}

/// Folds recorded samples into histograms until `stop`. Without it they pile up between scrapes.
pub(crate) async fn upkeep(stop: CancellationToken) {
    let handle = metrics_handle();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(UPKEEP_INTERVAL) => handle.run_upkeep(),
        }
    }
}

fn init_logging() {
    let mut filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new("info"));
    // Whoever turns the log down still wants to know who got in.
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    if !asked.contains(security_log::TARGET)
        && let Ok(always) = format!("{}=info", security_log::TARGET).parse::<Directive>()
    {
        filter = filter.add_directive(always);
    }
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter);
    // An error means that there is a subscriber already: this is not the first call, or a test has brought
    // its own.
    let _already_installed = if std::env::var("LOG_FORMAT").is_ok_and(|format| format == "text") {
        subscriber.event_format(request::InRequest { lines: format(), json: false }).try_init()
    } else {
        let lines = format().json().flatten_event(true).with_current_span(true).with_span_list(false);
        subscriber.json().event_format(request::InRequest { lines, json: true }).try_init()
    };
}

/// Turns a panic into one log line with its place, instead of free text on standard error.
///
/// Only for a process of its own: in a test, what a panic says belongs to the test that failed.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("a panic without a message");
        metrics::counter!("panics_total").increment(1);
        tracing::error!(%place, message, "panic");
    }));
}

/// Runs `work` and returns what it logged, as lines of JSON.
#[cfg(test)]
pub(crate) fn capture<T>(work: impl FnOnce() -> T) -> (String, T) {
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let written = Lines::default();
    let writer = written.clone();
    let subscriber =
        tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
    let done = tracing::subscriber::with_default(subscriber, work);
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    (text, done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_may_be_called_again_and_metrics_are_rendered() {
        init("first");
        init("second");
        metrics::histogram!("kit_test_seconds").record(0.02);
        let text = metrics_handle().render();
        assert!(text.contains("kit_test_seconds_bucket{le=\"0.025\"} 1"), "{text}");
        assert!(text.contains("component=\"second\""), "{text}");
    }
}
