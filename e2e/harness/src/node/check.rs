//! Shows that a node works, from DNS to the ingress, with its own pods.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{Node, daemon, layout::Layout, teardown};
use crate::{cluster::Cluster, prepare, step};

const NAMESPACE: &str = "node-check";
const MANIFESTS: &str = include_str!("manifests/check.yaml");
const INGRESS_LIMIT: Duration = Duration::from_mins(1);
/// bash alone can speak TCP, so nothing has to be installed for this.
const ASK_THE_INGRESS: &str = "exec 3<>/dev/tcp/127.0.0.1/80 && \
    printf 'GET /node-check HTTP/1.1\\r\\nhost: localhost\\r\\nconnection: close\\r\\n\\r\\n' >&3 && cat <&3";

/// The node's own end-to-end test: it comes up, works, comes up again after a crash, works again, and goes
/// without a trace. It takes about two minutes and removes whatever node was up before.
pub fn survives_a_crash_and_leaves_nothing() -> Result<()> {
    let prepared = prepare::node()?;
    step::step("A node comes up and works", || Node::up_with(&prepared)?.check())?;
    let layout = Layout::new();
    for daemon in Node::find()?.context("the node that came up is not found")?.daemons(&prepared) {
        // Containers and their shims live on, as when a machine runs out of memory.
        daemon::kill(&layout, daemon.name)?;
    }
    step::step("It comes up again after a crash and works", || Node::up_with(&prepared)?.check())?;
    step::step("It goes and leaves nothing", || {
        Node::down()?;
        let remains = teardown::remains(&layout)?;
        if !remains.is_empty() {
            bail!("still there: {}", remains.join(", "));
        }
        Ok(())
    })
}

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
