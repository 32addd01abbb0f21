//! One API server per test process, a namespace and an operator per test.

use std::{
    path::PathBuf,
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use clap::Parser;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Namespace};
use kube::{
    Api, Client, Config as ClientConfig, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    client::{Body, ClientBuilder},
    config::{KubeConfigOptions, Kubeconfig},
};
use rocketmart_crds::Shop;
use rocketmart_harness::{apiserver::ApiServer, backing::Kafka, prepare};
use rocketmart_operator::{Config, Context, controllers, leader::Fence};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const OPERATOR_NAMESPACE: &str = "rocketmart-system";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:rocketmart-system:rocketmart-operator";
const PATIENCE: Duration = Duration::from_mins(1);

/// The API server with the definitions and the chart's rights.
fn server() -> &'static ApiServer {
    static SERVER: OnceLock<ApiServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        rustls::crypto::ring::default_provider().install_default().unwrap();
        let server = ApiServer::start().unwrap();
        let chart = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../charts/rocketmart");
        let crds = chart.join("crds").display().to_string();
        server.kubectl(&["apply", "--server-side", "--filename", &crds]).unwrap();
        server.kubectl(&["wait", "--for=condition=Established", "crd", "--all"]).unwrap();
        server.kubectl(&["create", "namespace", OPERATOR_NAMESPACE]).unwrap();
        let rights = Command::new(prepare::helm().unwrap())
            .args(["template", "rocketmart", &chart.display().to_string(), "--namespace", OPERATOR_NAMESPACE])
            .args(["--show-only", "templates/rbac.yaml"])
            .output()
            .unwrap();
        assert!(rights.status.success(), "{}", String::from_utf8_lossy(&rights.stderr));
        let file = std::env::temp_dir().join(format!("rocketmart-rbac-{}.yaml", std::process::id()));
        std::fs::write(&file, rights.stdout).unwrap();
        server.kubectl(&["apply", "--filename", &file.display().to_string()]).unwrap();
        std::fs::remove_file(file).unwrap();
        server
    })
}

/// A namespace of its own for one test.
pub struct Cluster {
    pub client: Client,
    pub namespace: String,
}

impl Cluster {
    pub async fn new(namespace: &str) -> Self {
        let client = client().await;
        let object = json!({ "metadata": { "name": namespace } });
        let api: Api<Namespace> = Api::all(client.clone());
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        Self { client, namespace: namespace.to_owned() }
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Server-side apply as a person.
    pub async fn apply(&self, object: Value) -> kube::Result<()> {
        let kind = object["kind"].as_str().unwrap().to_owned();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let parameters = PatchParams::apply("a-person").force();
        let patch = Patch::Apply(&object);
        match kind.as_str() {
            "Shop" => self.api::<Shop>().patch(&name, &parameters, &patch).await.map(drop),
            "FlashSale" => {
                self.api::<rocketmart_crds::FlashSale>().patch(&name, &parameters, &patch).await.map(drop)
            }
            "Secret" => self
                .api::<k8s_openapi::api::core::v1::Secret>()
                .patch(&name, &parameters, &patch)
                .await
                .map(drop),
            other => panic!("no test applies a {other}"),
        }
    }

    /// The Secrets that [`shop`] names.
    pub async fn apply_secrets(&self) {
        let url = "postgres://nobody@nowhere/nothing";
        self.apply(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": "databases" },
            "stringData": { "member": url, "catalog": url, "order": url, "payment": url, "delivery": url },
        }))
        .await
        .unwrap();
        self.apply(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": "provider" },
            "stringData": { "secret": "shared" },
        }))
        .await
        .unwrap();
    }

    /// An operator of this namespace that looks after Shops alone, with the rights of the chart.
    pub async fn operator(&self) -> Operator {
        let config = Config::parse_from(["rocketmart-operator", "--watch-namespace", &self.namespace]);
        let writes = Arc::new(AtomicUsize::new(0));
        let client = counting_client(writes.clone()).await;
        let context = Arc::new(Context::new(client, config, Fence::of_term(1)));
        let stop = CancellationToken::new();
        Operator { task: tokio::spawn(controllers::shop::run(context, stop.clone())), stop, writes }
    }

    /// Waits until the shop looks as described.
    pub async fn shop_that(&self, what: &str, looks: impl Fn(&Shop) -> bool) -> Shop {
        let mut last = None;
        for _ in 0..PATIENCE.as_millis() / 100 {
            let shop = self.api::<Shop>().get("rocket").await.unwrap();
            if looks(&shop) {
                return shop;
            }
            last = shop.status;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the shop never {what}: {}", serde_json::to_string_pretty(&last).unwrap());
    }

    /// What the Deployment controller and the kubelet would do in the end.
    pub async fn let_deployments_be_ready(&self) {
        let api = self.api::<Deployment>();
        for deployment in api.list(&ListParams::default()).await.unwrap() {
            let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap();
            let status = json!({ "status": {
                "observedGeneration": deployment.metadata.generation,
                "replicas": replicas,
                "updatedReplicas": replicas,
                "readyReplicas": replicas,
                "availableReplicas": replicas,
            }});
            let name = deployment.name_any();
            api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
        }
    }
}

pub struct Operator {
    stop: CancellationToken,
    task: JoinHandle<()>,
    writes: Arc<AtomicUsize>,
}

impl Operator {
    /// Requests so far that were not reads, whether or not they changed anything.
    pub fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// A client of an administrator.
async fn client() -> Client {
    Client::try_from(client_config().await).unwrap()
}

/// A client with the rights of the chart that counts what it writes.
async fn counting_client(writes: Arc<AtomicUsize>) -> Client {
    let mut config = client_config().await;
    config.auth_info.impersonate = Some(SERVICE_ACCOUNT.to_owned());
    let count = tower::util::MapRequestLayer::new(move |request: http::Request<Body>| {
        if request.method() != http::Method::GET {
            writes.fetch_add(1, Ordering::Relaxed);
        }
        request
    });
    ClientBuilder::try_from(config).unwrap().with_layer(&count).build()
}

async fn client_config() -> ClientConfig {
    let path = tokio::task::spawn_blocking(|| server().kubeconfig()).await.unwrap();
    let kubeconfig = Kubeconfig::read_from(path).unwrap();
    ClientConfig::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
}

/// Bootstrap servers of a real Kafka.
pub async fn brokers() -> String {
    tokio::task::spawn_blocking(|| Kafka::shared().unwrap().brokers()).await.unwrap()
}

/// A shop named `rocket`.
pub fn shop(brokers: &str) -> Value {
    json!({
        "apiVersion": "rocketmart.dev/v1alpha1",
        "kind": "Shop",
        "metadata": { "name": "rocket" },
        "spec": {
            "host": "shop.example",
            "redis": { "url": "redis://redis:6379" },
            "kafka": { "brokers": brokers, "partitions": 3 },
            "postgresql": { "secretRef": { "name": "databases" } },
            "smtp": { "url": "smtp://mail:1025" },
            "paymentProvider": {
                "url": "http://provider:8090",
                "secretRef": { "name": "provider", "key": "secret" },
            },
            "components": {
                "order": { "replicas": 2 },
                "order-worker": { "autoscaling": { "minReplicaCount": 1, "maxReplicaCount": 4 } },
            },
        },
    })
}

/// The message of a condition, if it has this status.
pub fn condition(shop: &Shop, kind: &str, status: &str) -> Option<String> {
    let conditions = shop.status.iter().flat_map(|status| &status.conditions);
    let found =
        conditions.into_iter().find(|condition| condition.type_ == kind && condition.status == status);
    found.map(|condition| condition.message.clone())
}
