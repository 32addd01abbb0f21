//! Why a running pod is not ready, in its own words.
//!
//! The API server learns only yes or no. The pod's `/readyz` names what is missing: a store that does not
//! answer, or a Redis that belongs to another shop. We ask one unready pod of each component, all at once,
//! and keep the answers for a moment. Otherwise each status that quotes an answer would prompt the next
//! question.

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

/// Longest wait for an answer. A gate of `/readyz` gives up after two seconds.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How long an answer stays good.
const KEPT: Duration = Duration::from_secs(5);
/// How many characters of one pod's answer we pass on.
const QUOTED: usize = 400;

/// Why pods are not ready, by component.
pub(super) type Reasons = BTreeMap<String, String>;

/// Asks pods, and remembers what they last said. One per controller.
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

    /// What running pods that are not ready say. A pod that does not answer is left out.
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
