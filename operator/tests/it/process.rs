//! The operator as the chart runs it, in its own process: how it starts, waits, leads and ends.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::api::ListParams;
use rocketmart_crds::Shop;
use rocketmart_harness::{
    apiserver::ApiServer,
    ports,
    process::{self, Process, Server},
    step::tail,
};

use crate::{
    cluster::{Cluster, brokers, condition, shop},
    order_service::eventually,
};

/// Long enough for a three-second lease to run out, or for an orderly end.
const END_LIMIT: Duration = Duration::from_secs(20);

pub struct OperatorProcess {
    process: Process,
    admin: String,
    log: Log,
}

/// A failing test prints the end of the log, because nobody finds the file afterwards.
struct Log(PathBuf);

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", tail(&self.0));
        }
    }
}

impl OperatorProcess {
    /// Starts an operator with a three-second lease. The Lease is in `namespace`; `settings` are added to
    /// the environment.
    pub fn start(kubeconfig: &Path, namespace: &str, name: &str, settings: &[(&str, &str)]) -> Self {
        let listen = format!("127.0.0.1:{}", ports::free_port().unwrap());
        let mut environment: BTreeMap<&str, String> = BTreeMap::from([
            ("KUBECONFIG", kubeconfig.display().to_string()),
            ("POD_NAMESPACE", namespace.to_owned()),
            ("POD_NAME", name.to_owned()),
            ("LEASE_SECONDS", "3".to_owned()),
            ("ORDER_URL", "http://nowhere".to_owned()),
            ("ADMIN_LISTEN", listen.clone()),
            ("LOG_FORMAT", "text".to_owned()),
        ]);
        environment.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let log = process::scratch("operator").unwrap().join("operator.log");
        let server = Server {
            name: "rocketmart-operator",
            program: env!("CARGO_BIN_EXE_rocketmart-operator").into(),
            arguments: vec![],
            environment: environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            log: log.clone(),
            user: None,
        };
        Self { process: server.spawn().unwrap(), admin: format!("http://{listen}"), log: Log(log) }
    }

    /// What it has logged so far, in whole lines.
    pub fn log(&self) -> String {
        let mut text = std::fs::read_to_string(&self.log.0).unwrap();
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        text
    }

    pub fn signal(&self, name: &str) {
        self.process.signal(name).unwrap();
    }

    /// Waits for the process to end, and returns whether it ended in order.
    pub async fn ends_well(mut self) -> bool {
        let ended = tokio::task::spawn_blocking(move || self.process.wait_for(END_LIMIT));
        ended.await.unwrap().unwrap().expect("the process goes on").success()
    }

    /// Status and text of a probe; `None` while the process does not listen.
    async fn probe(&self, path: &str) -> Option<(u16, String)> {
        let answer = reqwest::get(format!("{}{path}", self.admin)).await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    pub async fn metrics(&self) -> String {
        self.probe("/metrics").await.map_or_else(String::new, |(_, text)| text)
    }

    async fn until_ready_says(&self, status: u16, said: &str) {
        eventually(&format!("/readyz says {status} {said}"), async || {
            self.probe("/readyz").await == Some((status, said.to_owned()))
        })
        .await;
    }
}

async fn is_seen(cluster: &Cluster) -> bool {
    let shops = cluster.api::<Shop>().list(&ListParams::default()).await.unwrap();
    shops.iter().all(|shop| condition(shop, "Degraded", "True").is_some())
}

async fn with(mut server: ApiServer, act: fn(&mut ApiServer)) -> ApiServer {
    let acting = move || {
        act(&mut server);
        server
    };
    tokio::task::spawn_blocking(acting).await.unwrap()
}

async fn stopped(server: ApiServer) -> ApiServer {
    with(server, ApiServer::kill).await
}

async fn started(server: ApiServer) -> ApiServer {
    with(server, |server| server.restart().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_outlives_an_api_server_that_is_away_and_looks_after_one_namespace_or_all() {
    let (here, server) = Cluster::with_a_server_of_its_own("here").await;
    let there = here.beside("there").await;
    let brokers = brokers().await;
    for cluster in [&here, &there] {
        // Its Secrets are missing, and the operator says so.
        cluster.apply(shop(&brokers)).await.unwrap();
    }
    let kubeconfig = server.kubeconfig();

    // It starts while there is no API server. It waits, says what for, and needs no restart.
    let server = stopped(server).await;
    let one = OperatorProcess::start(&kubeconfig, "here", "one", &[("WATCH_NAMESPACE", "here")]);
    one.until_ready_says(503, "waiting for: api-server, election").await;
    assert_eq!(one.probe("/healthz").await, Some((200, "ok".to_owned())));
    let server = started(server).await;
    one.until_ready_says(200, "ok").await;
    eventually("its shop is looked after", async || is_seen(&here).await).await;
    assert!(!is_seen(&there).await, "looked after a namespace that is none of its business");

    // The API server goes away for longer than the lease. A leader ends rather than act on old rights.
    let server = stopped(server).await;
    assert!(!one.ends_well().await, "leads although nobody could know");
    // As a kubelet would restart it.
    let two = OperatorProcess::start(&kubeconfig, "here", "two", &[]);
    two.until_ready_says(503, "waiting for: api-server, election").await;
    let server = started(server).await;
    eventually("all namespaces are looked after", async || is_seen(&there).await).await;
    let metrics = two.probe("/metrics").await.unwrap().1;
    for metric in [
        "rocketmart_operator_leader 1",
        "rocketmart_operator_api_requests_total{",
        "rocketmart_operator_reconcile_seconds_bucket{controller=\"shop\"",
        "process_resident_memory_bytes ",
    ] {
        assert!(metrics.contains(metric), "no {metric} in\n{metrics}");
    }
    two.signal("TERM");
    assert!(two.ends_well().await);
    drop(server);
}
