//! Why a pod that runs is not ready, in its own words.
//!
//! The API server is told yes or no; `/readyz` of the pod names what is missing: a store that does not answer, a
//! Redis that belongs to another shop. One pod of each component that has an unready one is asked, all at once,
//! and its answer is kept for a moment: a status that quotes it does not ask for the next one.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::Deserialize;

use super::{names, ports::ADMIN_PORT};

/// Longest wait for an answer; a gate of `/readyz` gives up after two seconds.
const TIMEOUT: Duration = Duration::from_secs(3);
/// So long an answer is good.
const KEPT: Duration = Duration::from_secs(5);
/// Characters of what one pod says that are passed on.
const QUOTED: usize = 400;

/// Why pods are not ready, by component.
pub(super) type Reasons = BTreeMap<String, String>;

/// Asks pods, and knows what they said last. One per controller.
pub(super) struct Asker {
    http: reqwest::Client,
    /// By the uid of the pod.
    said: Mutex<HashMap<String, (Instant, Option<String>)>>,
}

impl Asker {
    pub(super) fn new() -> reqwest::Result<Self> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        Ok(Self { http, said: Mutex::default() })
    }

    /// What pods say that run and are not ready; nothing of one that does not answer.
    pub(super) async fn ask(&self, pods: &[Pod]) -> Reasons {
        let mut unready = BTreeMap::new();
        for pod in pods.iter().filter(|pod| runs_unready(pod)) {
            if let (Some(component), Some(url)) = (pod.labels().get(names::COMPONENT), address(pod)) {
                unready.entry(component.clone()).or_insert((pod.uid().unwrap_or_default(), url));
            }
        }
        let asked = unready.into_iter().map(async |(component, (pod, url))| {
            let said = self.answer(&pod, &url).await?;
            Some((component, said))
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn answer(&self, pod: &str, url: &str) -> Option<String> {
        if let Some((_, said)) = self.kept().get(pod) {
            return said.clone();
        }
        let said = self.missing(url).await;
        self.kept().insert(pod.to_owned(), (Instant::now(), said.clone()));
        said
    }

    /// Answers that are still good.
    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Instant, Option<String>)>> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, (at, _)| at.elapsed() < KEPT);
        said
    }

    async fn missing(&self, url: &str) -> Option<String> {
        let answer = self.http.get(url).send().await.ok()?;
        let Readyz { missing } = answer.json().await.ok()?;
        let missing = missing.iter().map(|Missing { name, reason }| format!("{name}: {reason}"));
        let said = missing.collect::<Vec<_>>().join("; ");
        (!said.is_empty()).then(|| said.chars().take(QUOTED).collect())
    }
}

/// docs/contracts.md, "Processes".
#[derive(Deserialize)]
struct Readyz {
    missing: Vec<Missing>,
}

#[derive(Deserialize)]
struct Missing {
    name: String,
    reason: String,
}

fn runs_unready(pod: &Pod) -> bool {
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let mut states =
        containers.map(|it| (it.ready, it.state.as_ref().is_some_and(|it| it.running.is_some())));
    pod.metadata.deletion_timestamp.is_none() && states.any(|(ready, runs)| runs && !ready)
}

fn address(pod: &Pod) -> Option<String> {
    let ip: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let admin =
        ports.filter(|port| port.name.as_deref() == Some("admin")).map(|port| port.container_port).next();
    let port = u16::try_from(admin.unwrap_or(ADMIN_PORT)).ok()?;
    Some(format!("http://{}/readyz", std::net::SocketAddr::new(ip, port)))
}
