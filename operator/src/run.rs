//! The life of an operator process. First come the probes, then the election, then the controllers, until
//! somebody asks the process to stop or it loses the Lease.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use kube::{Client, Config as ClientConfig};
use tokio::{net::TcpListener, signal::unix};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Context,
    admin::{self, Gate, Readiness},
    controllers,
    leader::{Election, Fence},
    requests, telemetry,
};

/// How long running reconciles may take once the process is asked to stop.
const DRAIN_TIME: Duration = Duration::from_secs(20);
/// How often to ask an API server again that does not answer.
const RETRY: Duration = Duration::from_secs(1);

/// Runs until SIGTERM, SIGINT, or the loss of the Lease (an error: the process starts afresh).
pub async fn run(config: Config) -> anyhow::Result<()> {
    let metrics = telemetry::init(config.log_format)?;
    drop(tokio::spawn(telemetry::keep_up(metrics.clone())));
    let stop = stop_on_signal()?;
    let readiness = Readiness::default();
    let listener = TcpListener::bind(config.admin_listen)
        .await
        .with_context(|| format!("listening on ADMIN_LISTEN {}", config.admin_listen))?;
    let ended = CancellationToken::new();
    let probes = tokio::spawn(admin::serve(listener, readiness.clone(), metrics, ended.clone()));

    let outcome = operate(config, &readiness, &stop).await;
    ended.cancel();
    probes.await.context("the probes' task")??;
    outcome
}

async fn operate(config: Config, readiness: &Readiness, stop: &CancellationToken) -> anyhow::Result<()> {
    let cluster = ClientConfig::infer().await.context("finding the cluster")?;
    let client = requests::unlimited(cluster.clone()).context("making a client of the API server")?;
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = until_answered(&client) => readiness.open(Gate::ApiServer),
    }

    let duration = Duration::from_secs(config.lease_seconds.into());
    let election = Election::new(client, &config.namespace, &config.lease_name, &config.identity, duration);
    metrics::gauge!(telemetry::LEADER).set(0);
    let leadership = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        leadership = election.lead(|| readiness.open(Gate::Election)) => leadership,
    };
    metrics::gauge!(telemetry::LEADER).set(1);

    let fence = Fence::default();
    leadership.raise(&fence);
    let stop_leading = CancellationToken::new();
    let mut lease = tokio::spawn(leadership.keep(stop_leading.clone()));
    let client = requests::limited(cluster).context("making a client of the API server")?;
    let context = Arc::new(Context::new(client, config, fence));
    let stop_controllers = CancellationToken::new();
    let mut controllers = tokio::spawn(controllers::run(context, stop_controllers.clone()));

    tokio::select! {
        () = stop.cancelled() => {
            readiness.close(Gate::Running);
            stop_controllers.cancel();
            // We keep the Lease until the last reconcile has finished.
            if tokio::time::timeout(DRAIN_TIME, &mut controllers).await.is_err() {
                tracing::warn!("reconciles did not end in time");
                controllers.abort();
            }
            stop_leading.cancel();
            lease.await.context("the lease's task")?;
            Ok(())
        }
        _ = &mut lease => {
            controllers.abort();
            bail!("the lease was lost")
        }
        ended = &mut controllers => bail!("the controllers ended by themselves: {ended:?}"),
    }
}

/// Waits for an API server that is away instead of exiting. The pauses between a container's restarts grow
/// to minutes, and would go on after the API server is back.
async fn until_answered(client: &Client) {
    loop {
        match client.apiserver_version().await {
            Ok(version) => {
                tracing::info!(version = version.git_version, "API server found");
                return;
            }
            Err(error) => tracing::warn!(%error, "the API server does not answer"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// SIGTERM or SIGINT cancels it.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let mut terminate = unix::signal(unix::SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = unix::signal(unix::SignalKind::interrupt()).context("listening for SIGINT")?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    drop(tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("SIGINT"),
        }
        token.cancel();
    }));
    Ok(stop)
}
