//! How many replicas each component had, over the demo: sampled every second, kept when it changed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use rocketmart_harness::{cluster::Cluster, step::step};
use serde_json::{Value, json};

use super::install::SHOP_NAMESPACE;

const INTERVAL: Duration = Duration::from_secs(1);
/// Workers go back to their minimum after the cool-down of examples/shop.yaml.
const SCALE_IN_LIMIT: Duration = Duration::from_secs(90);
const SCALED: [&str; 2] = ["order-worker", "payment-worker"];

pub(crate) struct Timeline {
    stop: Arc<AtomicBool>,
    sampler: JoinHandle<Vec<Value>>,
}

impl Timeline {
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sampler = thread::spawn({
            let (stop, cluster) = (Arc::clone(&stop), cluster.clone());
            move || sample(&cluster, &stop)
        });
        Self { stop, sampler }
    }

    /// The changes: `{second, component, desired, ready}`.
    pub(crate) fn finish(self) -> Result<Vec<Value>> {
        self.stop.store(true, Ordering::Relaxed);
        self.sampler.join().map_err(|_| anyhow!("the sampler of replicas panicked"))
    }
}

fn sample(cluster: &Cluster, stop: &AtomicBool) -> Vec<Value> {
    let started = Instant::now();
    let mut last: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut changes = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        // A missed sample is only a gap in the picture.
        for (component, now) in replicas(cluster).unwrap_or_default() {
            if last.insert(component.clone(), now) != Some(now) {
                let (desired, ready) = now;
                changes.push(json!({"second": started.elapsed().as_secs(), "component": component, "desired": desired, "ready": ready}));
            }
        }
        thread::sleep(INTERVAL);
    }
    changes
}

fn replicas(cluster: &Cluster) -> Result<BTreeMap<String, (u64, u64)>> {
    let text = cluster.kubectl(&["-n", SHOP_NAMESPACE, "get", "deployments", "-o", "json"])?;
    let list: Value = serde_json::from_str(&text)?;
    let deployments = list["items"].as_array().cloned().unwrap_or_default();
    Ok(deployments
        .iter()
        .filter_map(|deployment| {
            let component = deployment["metadata"]["labels"]["app.kubernetes.io/component"].as_str()?;
            let desired = deployment["spec"]["replicas"].as_u64()?;
            let ready = deployment["status"]["readyReplicas"].as_u64().unwrap_or_default();
            Some((component.to_owned(), (desired, ready)))
        })
        .collect())
}

/// Waits until the workers are back at one replica each.
pub(crate) fn wait_for_scale_in(cluster: &Cluster) -> Result<()> {
    step("Workers scale in again", || {
        rocketmart_harness::step::wait_until("workers to scale in", SCALE_IN_LIMIT, || {
            replicas(cluster).is_ok_and(|now| {
                SCALED.iter().all(|component| now.get(*component).is_some_and(|(desired, _)| *desired == 1))
            })
        })
    })
}
