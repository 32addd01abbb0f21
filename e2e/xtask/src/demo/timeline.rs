//! How many replicas each component had during the demo, and how long worker pods took to start. Sampled
//! every second, recorded on change.

use std::{
    collections::{BTreeMap, BTreeSet},
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
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::install::SHOP_NAMESPACE;

const INTERVAL: Duration = Duration::from_secs(1);
/// Workers go back to their minimum after the cool-down in examples/shop.yaml.
const SCALE_IN_LIMIT: Duration = Duration::from_secs(90);
const SCALED: [&str; 2] = ["order-worker", "payment-worker"];

pub(crate) struct Timeline {
    stop: Arc<AtomicBool>,
    sampler: JoinHandle<Seen>,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Changes: `{second, at, component, desired, ready}`.
    pub(crate) replicas: Vec<Value>,
    /// Worker pods that started while the shop ran: `{component, pod, seconds}` from creation to readiness,
    /// in whole seconds, as Kubernetes records them.
    pub(crate) pod_starts: Vec<Value>,
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

    pub(crate) fn finish(self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.sampler.join().map_err(|_| anyhow!("the sampler of replicas panicked"))
    }
}

fn sample(cluster: &Cluster, stop: &AtomicBool) -> Seen {
    let started = Instant::now();
    let mut last: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    // Pods that were ready at the first look started with everything else.
    let mut known: Option<BTreeSet<String>> = None;
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        // One call asks for everything, because each kubectl costs the sale's own processors a tenth of a
        // second. A missed sample is only a gap in the picture.
        let objects = listed(cluster, "deployments,pods").unwrap_or_default();
        for (component, now) in replicas(&objects) {
            if last.insert(component.clone(), now) != Some(now) {
                let (desired, ready) = now;
                let at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
                seen.replicas.push(json!({
                    "second": started.elapsed().as_secs(), "at": at, "component": component, "desired": desired, "ready": ready,
                }));
            }
        }
        if !objects.is_empty() {
            let first = known.is_none();
            let known = known.get_or_insert_default();
            seen.pod_starts.extend(
                ready_workers(&objects)
                    .into_iter()
                    .filter(|pod| known.insert(pod["pod"].as_str().unwrap_or_default().to_owned()) && !first),
            );
        }
        thread::sleep(INTERVAL);
    }
    seen
}

/// The ready pods of the scaled components.
fn ready_workers(objects: &[Value]) -> Vec<Value> {
    let moment = |value: &Value| OffsetDateTime::parse(value.as_str()?, &Rfc3339).ok();
    let ready = |pod: &Value| -> Option<Value> {
        let conditions = pod["status"]["conditions"].as_array()?;
        let ready = conditions.iter().find(|it| it["type"] == "Ready" && it["status"] == "True")?;
        let metadata = &pod["metadata"];
        let component = metadata["labels"]["app.kubernetes.io/component"].as_str()?;
        SCALED.contains(&component).then_some(())?;
        let took = moment(&ready["lastTransitionTime"])? - moment(&metadata["creationTimestamp"])?;
        Some(json!({
            "component": component,
            "pod": metadata["name"],
            "seconds": took.whole_seconds(),
        }))
    };
    objects.iter().filter(|object| object["kind"] == "Pod").filter_map(ready).collect()
}

/// Objects of these kinds in the shop's namespace.
fn listed(cluster: &Cluster, kinds: &str) -> Result<Vec<Value>> {
    let list = cluster.kubectl(&["--namespace", SHOP_NAMESPACE, "get", "--output=json", kinds])?;
    Ok(serde_json::from_str::<Value>(&list)?["items"].as_array().cloned().unwrap_or_default())
}

fn replicas(objects: &[Value]) -> BTreeMap<String, (u64, u64)> {
    objects
        .iter()
        .filter(|object| object["kind"] == "Deployment")
        .filter_map(|deployment| {
            let component = deployment["metadata"]["labels"]["app.kubernetes.io/component"].as_str()?;
            let desired = deployment["spec"]["replicas"].as_u64()?;
            let ready = deployment["status"]["readyReplicas"].as_u64().unwrap_or_default();
            Some((component.to_owned(), (desired, ready)))
        })
        .collect()
}

/// Waits until the workers are back at one replica each.
pub(crate) fn wait_for_scale_in(cluster: &Cluster) -> Result<()> {
    step("Workers scale in again", || {
        rocketmart_harness::step::wait_until("workers to scale in", SCALE_IN_LIMIT, || {
            listed(cluster, "deployments").is_ok_and(|objects| {
                let now = replicas(&objects);
                SCALED.iter().all(|component| now.get(*component).is_some_and(|(desired, _)| *desired == 1))
            })
        })
    })
}
