//! Shows that a node works, from DNS to the ingress, with pods of its own.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;

const NAMESPACE: &str = "node-check";
const MANIFESTS: &str = include_str!("manifests/check.yaml");
const INGRESS_LIMIT: Duration = Duration::from_secs(60);
/// bash alone can speak TCP, so that nothing has to be installed for it.
const ASK_THE_INGRESS: &str = "exec 3<>/dev/tcp/127.0.0.1/80 && \
    printf 'GET /node-check HTTP/1.1\\r\\nhost: localhost\\r\\nconnection: close\\r\\n\\r\\n' >&3 && cat <&3";

pub(super) fn run(cluster: &Cluster) -> Result<()> {
    cluster.apply(MANIFESTS)?;
    let outcome = service_answers_a_pod(cluster).and_then(|()| ingress_answers(cluster));
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=60s"])?;
    outcome
}

fn service_answers_a_pod(cluster: &Cluster) -> Result<()> {
    let waited = cluster.kubectl(&[
        "wait",
        "--namespace",
        NAMESPACE,
        "--for=condition=Complete",
        "job/client",
        "--timeout=90s",
    ]);
    let log = cluster.kubectl(&["logs", "--namespace", NAMESPACE, "job/client"]).unwrap_or_default();
    waited.with_context(|| format!("a pod did not reach a Service by its name; it said: {log}"))?;
    if !log.contains("server.node-check.svc.cluster.local") {
        bail!("DNS gave a Service another name: {log}");
    }
    Ok(())
}

fn ingress_answers(cluster: &Cluster) -> Result<()> {
    let deadline = Instant::now() + INGRESS_LIMIT;
    loop {
        let output = cluster.command("bash").args(["-c", ASK_THE_INGRESS]).output()?;
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        if answer.starts_with("HTTP/1.1 200") && answer.contains("works") {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("the ingress did not reach the Service; it answered: {answer}");
        }
        thread::sleep(Duration::from_millis(500));
    }
}
