//! The operator's process, and its metrics as Prometheus would read them.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rocketmart_harness::{
    ports,
    process::{self, Process, Server},
    step,
};
use rocketmart_loadtest::client::Client;
use tokio::runtime::Runtime;

use super::super::metrics;

const START_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_secs(40);

pub(super) struct Operator {
    server: Server,
    process: Process,
    admin: Client,
    runtime: Runtime,
}

impl Operator {
    /// Starts it as the chart does, for all namespaces; all shops share one order service.
    pub(super) fn start(program: &Path, kubeconfig: &Path, order_url: &str) -> Result<Self> {
        let port = ports::free_port()?;
        let environment = [
            ("KUBECONFIG", kubeconfig.display().to_string()),
            ("POD_NAMESPACE", "default".to_owned()),
            ("POD_NAME", "bench".to_owned()),
            ("ORDER_URL", order_url.to_owned()),
            ("ADMIN_LISTEN", format!("127.0.0.1:{port}")),
        ];
        let server = Server {
            name: "rocketmart-operator",
            program: program.to_owned(),
            arguments: Vec::new(),
            environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
            log: process::scratch("operator")?.join("operator.log"),
            user: None,
        };
        let process = server.start(port, START_LIMIT)?;
        let admin = Client::new(&format!("http://127.0.0.1:{port}"), None)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { server, process, admin, runtime })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends SIGTERM and waits for its orderly end.
    pub(super) fn stop(mut self) -> Result<()> {
        self.process.signal("TERM")?;
        match self.process.wait_for(STOP_LIMIT)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("the operator ended with {status}\n{}", step::tail(&self.server.log)),
            None => bail!("the operator did not end on SIGTERM\n{}", step::tail(&self.server.log)),
        }
    }

    /// Its metrics now.
    pub(super) fn moment(&self) -> Result<Moment> {
        let text = self.runtime.block_on(metrics(&self.admin));
        let text = text.with_context(|| step::tail(&self.server.log))?;
        Ok(Moment::read(&text))
    }

    /// Waits until each object was reconciled. No object is reconciled twice before every object was
    /// reconciled once, unless one fails, and then there is no figure.
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    pub(super) fn until_reconciled(&self, shops: usize, sales: usize, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let moment = self.moment()?;
            ensure!(moment.errors == 0.0, "reconciles failed\n{}", step::tail(&self.server.log));
            let count = |controller| moment.times(controller).count();
            if count("shop") >= shops as f64 && count("flash-sale") >= sales as f64 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{} sales were reconciled", count("flash-sale"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The metrics of one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Moment {
    /// Requests to the API server, without those for the Lease.
    pub(super) requests: f64,
    /// The requests among them that change something.
    pub(super) writes: f64,
    /// Renewals of the Lease.
    pub(super) renewals: f64,
    pub(super) errors: f64,
    pub(super) resident_bytes: f64,
    /// By controller: a bucket's upper bound in seconds, and how many were within it.
    buckets: Vec<(String, f64, f64)>,
}

impl Moment {
    fn read(text: &str) -> Self {
        let mut moment = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let label = |key: &str| {
                let start = labels.find(&format!("{key}=\""))? + key.len() + 2;
                labels[start..].split('"').next()
            };
            match name {
                "rocketmart_operator_api_requests_total" => {
                    moment.asked(label("verb"), label("resource"), value);
                }
                "rocketmart_operator_reconcile_errors_total" => moment.errors += value,
                "process_resident_memory_bytes" => moment.resident_bytes = value,
                "rocketmart_operator_reconcile_seconds_bucket" => {
                    let bound = label("le").and_then(|bound| bound.parse().ok()).unwrap_or(f64::INFINITY);
                    moment.buckets.push((label("controller").unwrap_or_default().to_owned(), bound, value));
                }
                _ => {}
            }
        }
        moment
    }

    fn asked(&mut self, verb: Option<&str>, resource: Option<&str>, times: f64) {
        let changes = !matches!(verb, Some("get" | "list" | "watch"));
        if resource == Some("leases") {
            self.renewals += if changes { times } else { 0.0 };
            return;
        }
        self.requests += times;
        self.writes += if changes { times } else { 0.0 };
    }

    pub(super) fn times(&self, controller: &str) -> Times {
        let mut buckets: Vec<_> = self
            .buckets
            .iter()
            .filter(|(of, ..)| of == controller)
            .map(|(_, bound, count)| (*bound, *count))
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Times(buckets)
    }

    pub(super) fn all_reconciles(&self) -> f64 {
        self.times("shop").count() + self.times("flash-sale").count()
    }
}

/// A histogram: upper bounds, and how many values were within each.
#[derive(Debug)]
pub(super) struct Times(Vec<(f64, f64)>);

impl Times {
    pub(super) fn count(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, count)| *count)
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        let earlier = |bound: f64| {
            before
                .0
                .iter()
                .find(|(other, _)| other.total_cmp(&bound).is_eq())
                .map_or(0.0, |(_, count)| *count)
        };
        Self(self.0.iter().map(|(bound, count)| (*bound, count - earlier(*bound))).collect())
    }

    /// In seconds, like Prometheus' `histogram_quantile`: values are spread evenly within a bucket, and
    /// beyond the last bound it is that bound.
    pub(super) fn quantile(&self, quantile: f64) -> f64 {
        let wanted = quantile * self.count();
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            if bound.is_infinite() {
                break;
            }
            if *count >= wanted && *count > below {
                return lower + (bound - lower) * (wanted - below) / (count - below);
            }
            (lower, below) = (*bound, *count);
        }
        lower
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# TYPE rocketmart_operator_api_requests_total counter
rocketmart_operator_api_requests_total{verb="get",resource="shops"} 7
rocketmart_operator_api_requests_total{verb="patch",resource="flashsales/status"} 3
rocketmart_operator_api_requests_total{verb="update",resource="leases"} 5
rocketmart_operator_reconcile_seconds_bucket{controller="shop",le="0.1"} 8
rocketmart_operator_reconcile_seconds_bucket{controller="shop",le="0.2"} 10
rocketmart_operator_reconcile_seconds_bucket{controller="shop",le="+Inf"} 10
process_resident_memory_bytes 1048576
"#;

    #[test]
    fn metrics_are_read_and_the_lease_is_counted_apart() {
        let moment = Moment::read(TEXT);
        assert_eq!((moment.requests, moment.writes, moment.renewals), (10.0, 3.0, 5.0));
        assert_eq!((moment.resident_bytes, moment.all_reconciles()), (1_048_576.0, 10.0));
    }

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let times = Moment::read(TEXT).times("shop");
        assert!((times.quantile(0.4) - 0.05).abs() < 1e-9, "{}", times.quantile(0.4));
        assert!((times.quantile(0.9) - 0.15).abs() < 1e-9, "{}", times.quantile(0.9));
        assert!(times.since(&Moment::read(TEXT).times("shop")).count() == 0.0);
        let slow = Times(vec![(0.1, 0.0), (f64::INFINITY, 2.0)]);
        assert!((slow.quantile(0.5) - 0.1).abs() < 1e-9, "{}", slow.quantile(0.5));
    }
}
