//! One API server per test process, one namespace per test.

use std::{path::PathBuf, process::Command, sync::OnceLock, time::Duration};

use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Namespace},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, Client, Config as ClientConfig, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use rocketmart_crds::{FlashSale, Shop};
use rocketmart_harness::{apiserver::ApiServer, backing::shared, prepare};
use serde_json::{Value, json};

pub const OPERATOR_NAMESPACE: &str = "rocketmart-system";
const PATIENCE: Duration = Duration::from_mins(1);

/// The API server, with the definitions installed and the chart's rights granted.
pub fn server() -> &'static ApiServer {
    static SERVER: OnceLock<ApiServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = ApiServer::start().unwrap();
        install_definitions(&server);
        let chart = chart();
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

fn chart() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../charts/rocketmart")
}

/// Installs the chart's definitions on an API server that may have older ones.
pub fn install_definitions(server: &ApiServer) {
    let crds = chart().join("crds").display().to_string();
    server.kubectl(&["apply", "--server-side", "--force-conflicts", "--filename", &crds]).unwrap();
    server.kubectl(&["wait", "--for=condition=Established", "crd", "--all"]).unwrap();
}

/// A test's own namespace.
pub struct Cluster {
    pub client: Client,
    pub namespace: String,
}

impl Cluster {
    pub async fn new(namespace: &str) -> Self {
        Self::on(client().await, namespace).await
    }

    async fn on(client: Client, namespace: &str) -> Self {
        let object = json!({ "metadata": { "name": namespace } });
        let api: Api<Namespace> = Api::all(client.clone());
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        Self { client, namespace: namespace.to_owned() }
    }

    /// Another namespace on the same API server.
    pub async fn beside(&self, namespace: &str) -> Self {
        Self::on(self.client.clone(), namespace).await
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Applies an object server-side, as a person would.
    pub async fn apply(&self, object: Value) -> kube::Result<()> {
        let kind = object["kind"].as_str().unwrap().to_owned();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let parameters = PatchParams::apply("a-person").force();
        let patch = Patch::Apply(&object);
        match kind.as_str() {
            "Shop" => self.api::<Shop>().patch(&name, &parameters, &patch).await.map(drop),
            "FlashSale" => self.api::<FlashSale>().patch(&name, &parameters, &patch).await.map(drop),
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

    /// A namespace on an API server that nobody else uses, so that the test may stop it.
    pub async fn with_a_server_of_its_own(namespace: &str) -> (Self, ApiServer) {
        Self::with_definitions_of_its_own(namespace, install_definitions).await
    }

    /// The same, where `install` decides which definitions the API server has.
    pub async fn with_definitions_of_its_own(namespace: &str, install: fn(&ApiServer)) -> (Self, ApiServer) {
        // The shared server installs the TLS provider.
        let start = move || {
            server();
            let own = ApiServer::start().unwrap();
            install(&own);
            own
        };
        let own = tokio::task::spawn_blocking(start).await.unwrap();
        let client = Client::try_from(config_of(own.kubeconfig()).await).unwrap();
        (Self::on(client, namespace).await, own)
    }

    /// Waits until the sale looks as described.
    pub async fn sale_that(&self, name: &str, what: &str, looks: impl Fn(&FlashSale) -> bool) -> FlashSale {
        let mut last = None;
        for _ in 0..PATIENCE.as_millis() / 100 {
            let sale = self.api::<FlashSale>().get(name).await.unwrap();
            if looks(&sale) {
                return sale;
            }
            last = sale.status;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the sale {name} never {what}: {}", serde_json::to_string_pretty(&last).unwrap());
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

    /// Does what the Deployment controller and the kubelet would do in the end.
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

/// A client with an administrator's rights.
async fn client() -> Client {
    Client::try_from(client_config().await).unwrap()
}

pub async fn client_config() -> ClientConfig {
    config_of(tokio::task::spawn_blocking(|| server().kubeconfig()).await.unwrap()).await
}

async fn config_of(path: PathBuf) -> ClientConfig {
    let kubeconfig = Kubeconfig::read_from(path).unwrap();
    ClientConfig::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
}

/// Bootstrap servers of a real Kafka.
pub async fn brokers() -> String {
    tokio::task::spawn_blocking(|| shared::brokers().unwrap()).await.unwrap()
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

/// The message of a Shop's condition, if it has this status.
pub fn condition(shop: &Shop, kind: &str, status: &str) -> Option<String> {
    message_of(shop.status.iter().flat_map(|status| &status.conditions), kind, status)
}

/// The message of a `FlashSale`'s condition, if it has this status.
pub fn sale_condition(sale: &FlashSale, kind: &str, status: &str) -> Option<String> {
    message_of(sale.status.iter().flat_map(|status| &status.conditions), kind, status)
}

fn message_of<'a>(
    mut conditions: impl Iterator<Item = &'a Condition>,
    kind: &str,
    status: &str,
) -> Option<String> {
    let found = conditions.find(|condition| condition.type_ == kind && condition.status == status);
    found.map(|condition| condition.message.clone())
}
