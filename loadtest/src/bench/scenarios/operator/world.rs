//! An API server with the objects that people declare, and Deployments that become ready as if there were
//! pods.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Secret},
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store},
        watcher,
    },
};
use rocketmart_crds::{FlashSale, Phase, Shop};
use rocketmart_harness::{apiserver::ApiServer, stack::OPERATOR_TOKEN};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::runtime::Runtime;

use super::Size;

pub(super) const SKU: &str = "BENCH-1";
pub(super) const PRICE: i64 = 19_900;
/// How many units each sale has.
pub(super) const UNITS: i64 = 10;
const DEFINITIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/rocketmart/crds");
/// How many declarations are sent at the same time.
const AT_ONCE: usize = 8;
/// How soon a sale opens once it is told to: long enough to load it before.
const OPENS_IN: time::Duration = time::Duration::seconds(5);

pub(super) struct World {
    // Dropped before the API server, which its tasks watch.
    runtime: Runtime,
    client: Client,
    shops: Store<Shop>,
    sales: Store<FlashSale>,
    server: ApiServer,
}

impl World {
    /// An API server that knows the kinds Shop and `FlashSale` and has no objects of them.
    pub(super) fn start() -> Result<Self> {
        let server = ApiServer::start()?;
        server.kubectl(&["apply", "--server-side", "--filename", DEFINITIONS])?;
        server.kubectl(&["wait", "--for=condition=Established", "crd", "--all"])?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let client = runtime.block_on(client(&server.kubeconfig()))?;
        let (shops, shop_writer) = reflector::store();
        let (sales, sale_writer) = reflector::store();
        let everything = watcher::Config::default;
        let shops_seen = watcher(Api::<Shop>::all(client.clone()), everything()).default_backoff();
        let sales_seen = watcher(Api::<FlashSale>::all(client.clone()), everything()).default_backoff();
        runtime.spawn(shops_seen.reflect(shop_writer).for_each(|_| std::future::ready(())));
        runtime.spawn(sales_seen.reflect(sale_writer).for_each(|_| std::future::ready(())));
        runtime.spawn(run_deployments(client.clone()));
        Ok(Self { runtime, client, shops, sales, server })
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.server.kubeconfig()
    }

    pub(super) fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }

    /// Declares everything; the sales open far in the future.
    pub(super) fn declare(&self, size: Size, brokers: &str) -> Result<()> {
        let opens = OffsetDateTime::now_utc() + time::Duration::days(1);
        let sales = (0..size.sales).map(|number| sale(size, number, opens)).collect::<Result<Vec<_>>>()?;
        self.block_on(async {
            for number in 0..size.namespaces {
                let object = json!({"metadata": {"name": namespace(number)}});
                let api: Api<Namespace> = Api::all(self.client.clone());
                api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
            }
            for number in 0..size.namespaces {
                self.create::<Secret>(&namespace(number), databases()).await?;
                self.create::<Secret>(&namespace(number), provider()).await?;
            }
            stream::iter(0..size.shops)
                .map(|number| async move {
                    let of = namespace(number % size.namespaces);
                    self.create::<Secret>(&of, token(number)).await?;
                    self.create::<Shop>(&of, shop(number, brokers)).await
                })
                .buffer_unordered(AT_ONCE)
                .try_collect::<Vec<()>>()
                .await?;
            stream::iter(sales)
                .map(|(of, object)| async move { self.create::<FlashSale>(&of, object).await })
                .buffer_unordered(AT_ONCE)
                .try_collect::<Vec<()>>()
                .await?;
            Ok(())
        })
    }

    /// Lets one sale in `every` open in a moment, and returns how many do.
    pub(super) fn open(&self, size: Size, every: usize) -> Result<usize> {
        let opens = (OffsetDateTime::now_utc() + OPENS_IN).format(&Rfc3339)?;
        let patch = Patch::Merge(json!({"spec": {"opensAt": opens}}));
        let chosen: Vec<usize> = (0..size.sales).step_by(every).collect();
        self.block_on(async {
            for number in &chosen {
                let api: Api<FlashSale> = Api::namespaced(self.client.clone(), &namespace_of(size, *number));
                api.patch(&sale_name(*number), &PatchParams::default(), &patch).await?;
            }
            Ok(chosen.len())
        })
    }

    /// Waits until `holds` is true of what is watched.
    pub(super) fn until(&self, what: &str, limit: Duration, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !holds(self) {
            ensure!(
                Instant::now() < deadline,
                "waited {} s until {what}; {} of {} sales and {} of {} shops are observed",
                limit.as_secs(),
                self.sales.state().iter().filter(|sale| is_observed(sale)).count(),
                self.sales.len(),
                self.shops.state().iter().filter(|shop| is_seen(shop)).count(),
                self.shops.len()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(super) fn all_are_observed(&self) -> bool {
        self.shops.state().iter().all(|shop| is_seen(shop))
            && self.sales.state().iter().all(|sale| is_observed(sale))
    }

    pub(super) fn all_shops_are_ready(&self) -> bool {
        self.shops.state().iter().all(|shop| {
            let conditions = shop.status.iter().flat_map(|status| &status.conditions);
            let holds = |kind: &str, status: &str| {
                conditions.clone().any(|condition| condition.type_ == kind && condition.status == status)
            };
            holds("Ready", "True") && holds("Progressing", "False")
        })
    }

    pub(super) fn open_sales(&self) -> usize {
        let phase = |sale: &FlashSale| sale.status.as_ref().and_then(|status| status.phase);
        self.sales.state().iter().filter(|sale| phase(sale) == Some(Phase::Open)).count()
    }

    async fn create<K>(&self, namespace: &str, object: Value) -> Result<()>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned
            + serde::Serialize,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let name = object["metadata"]["name"].to_string();
        let object = serde_json::from_value(object).with_context(|| name.clone())?;
        api.create(&PostParams::default(), &object).await.with_context(|| format!("creating {name}"))?;
        Ok(())
    }
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn is_seen(shop: &Shop) -> bool {
    shop.status.as_ref().and_then(|status| status.observed_generation) == shop.metadata.generation
}

fn is_observed(sale: &FlashSale) -> bool {
    sale.status.as_ref().and_then(|status| status.observed_generation) == sale.metadata.generation
}

/// Writes what the Deployment controller and kubelets would, as soon as a Deployment asks for it.
async fn run_deployments(client: Client) {
    let all: Api<Deployment> = Api::all(client.clone());
    let changes = watcher(all, watcher::Config::default()).default_backoff().applied_objects();
    let patches =
        changes.filter_map(async |change| change.ok().filter(|it| !is_running(it))).map(|deployment| {
            let client = client.clone();
            async move {
                let api: Api<Deployment> =
                    Api::namespaced(client, &deployment.namespace().unwrap_or_default());
                let patch = Patch::Merge(running(&deployment));
                // If the write fails, the watch shows the Deployment again.
                _ = api.patch_status(&deployment.name_any(), &PatchParams::default(), &patch).await;
            }
        });
    patches.buffer_unordered(AT_ONCE).for_each(|()| std::future::ready(())).await;
}

fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

fn is_running(deployment: &Deployment) -> bool {
    deployment.status.as_ref().is_some_and(|status| {
        status.observed_generation == deployment.metadata.generation
            && status.ready_replicas.unwrap_or_default() == wanted(deployment)
    })
}

fn running(deployment: &Deployment) -> Value {
    let replicas = wanted(deployment);
    json!({"status": {
        "observedGeneration": deployment.metadata.generation, "replicas": replicas,
        "updatedReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
    }})
}

fn namespace(number: usize) -> String {
    format!("mart-{number}")
}

fn namespace_of(size: Size, sale: usize) -> String {
    namespace(sale % size.shops % size.namespaces)
}

fn shop_name(number: usize) -> String {
    format!("shop-{number}")
}

fn sale_name(number: usize) -> String {
    format!("sale-{number}")
}

fn databases() -> Value {
    let url = "postgres://nobody@nowhere/nothing";
    json!({
        "metadata": {"name": "databases"},
        "stringData": {"member": url, "catalog": url, "order": url, "payment": url, "delivery": url},
    })
}

fn provider() -> Value {
    json!({"metadata": {"name": "provider"}, "stringData": {"secret": "shared"}})
}

/// The Secret that the operator would make for the shop. The shops share one order service, which has only
/// one token.
fn token(shop: usize) -> Value {
    json!({
        "metadata": {"name": format!("{}-operator-token", shop_name(shop))},
        "stringData": {"token": OPERATOR_TOKEN},
    })
}

fn shop(number: usize, brokers: &str) -> Value {
    let on_lag = json!({"autoscaling": {"minReplicaCount": 1, "maxReplicaCount": 4, "lagThreshold": 100}});
    json!({
        "apiVersion": "rocketmart.dev/v1alpha1", "kind": "Shop",
        "metadata": {"name": shop_name(number)},
        "spec": {
            "host": format!("{}.example", shop_name(number)),
            "redis": {"url": "redis://redis:6379"},
            "kafka": {"brokers": brokers, "partitions": 2},
            "postgresql": {"secretRef": {"name": "databases"}},
            "smtp": {"url": "smtp://mail:1025"},
            "paymentProvider": {
                "url": "http://provider:8090", "secretRef": {"name": "provider", "key": "secret"},
            },
            "components": {"order-worker": on_lag, "payment-worker": on_lag},
        },
    })
}

/// A sale of one of the shops, and its namespace.
fn sale(size: Size, number: usize, opens: OffsetDateTime) -> Result<(String, Value)> {
    let object = json!({
        "apiVersion": "rocketmart.dev/v1alpha1", "kind": "FlashSale",
        "metadata": {"name": sale_name(number)},
        "spec": {
            "shop": shop_name(number % size.shops),
            "items": [{"sku": SKU, "units": UNITS, "price": PRICE, "perBuyerLimit": 1}],
            "currency": "KRW",
            "opensAt": opens.format(&Rfc3339)?,
            "closesAt": (opens + time::Duration::days(1)).format(&Rfc3339)?,
        },
    });
    Ok((namespace_of(size, number), object))
}
