//! A sweep over the definition of a Shop, made from its schema. It tries odd values for each field, one at
//! a time, and several at once at random.
//!
//! ```text
//!   each value ──► dry run ──► refused: names the field
//!                     └──────► taken: can be read, and is made, many at a time:
//!                              a status ──► Deployments ready ──► quiet ──► deleted, with all that it had
//! ```
//! It runs on its own API server, with Kubernetes' own garbage collector. It is short in the tier
//! `operator`: chance picks which values to try and which of those to create. `CRD_SWEEP=500` tries and
//! creates all of them, and 500 combinations.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, stream};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, PostParams},
    core::ApiResource,
};
use rocketmart_crds::{Component, Shop};
use rocketmart_harness::apiserver::ApiServer;
use rocketmart_operator::controllers::shop::names;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    cluster::{Cluster, brokers, shop},
    crd_sweep::{AT_ONCE, asked_for, count_versions, has_a_status, is_told, rounds, with},
    dice::Dice,
    garbage::GarbageCollector,
    odd::{Try, tries},
    order_service::eventually,
};

/// How many Shops exist at a time; each has about fifty objects.
const BATCH: usize = 20;
/// How many Shops to create by default.
const MADE: usize = BATCH;
/// How many combinations to try by default; of the single values, it tries one in this many.
const COMBINATIONS: usize = 40;
const ONE_IN: usize = 8;
/// Usually one write: what is wrong, or which components the shop waits for. A second look may find another
/// reason, such as why its Kafka does not answer.
const MOST_WRITES: usize = 3;
/// The status follows the Deployments, which become ready one by one.
const MOST_FOLLOWING: usize = Component::ALL.len();
/// Longer than the operator waits before it looks again at a shop with problems.
const QUIET: Duration = Duration::from_secs(6);
const PATIENCE: Duration = Duration::from_mins(1);

/// A Shop that the API server accepts.
#[derive(Clone, Debug)]
struct Taken {
    changes: Vec<Try>,
    object: Value,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shop_that_the_api_server_takes_gets_a_status_and_goes_and_every_other_is_told_its_field() {
    let (cluster, server) = Cluster::with_a_server_of_its_own("swept-shops").await;
    let start = || (GarbageCollector::start(&server), kinds(&server));
    let (_collector, kinds) = tokio::task::block_in_place(start);
    apply_secrets(&cluster).await;
    let operator = cluster.operator_as_administrator();
    let api: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &ApiResource::erase::<Shop>(&()));
    let sweep = Sweep { versions: count_versions(api.clone()), cluster, api, server, kinds };

    let brokers = brokers().await;
    let taken = sweep.try_all(&plain_ones(&brokers)).await;
    assert!(taken.len() > 100, "{} taken", taken.len());
    let chosen = if asked_for().is_some() { taken } else { some_of(taken) };
    for batch in chosen.chunks(BATCH) {
        sweep.make_and_delete(batch).await;
    }
    operator.stop().await;
}

/// Shops that together have all fields: what lies below a field is tried where a plain shop has the field.
fn plain_ones(brokers: &str) -> [Value; 3] {
    let mut plain = shop(brokers);
    let spec = &mut plain["spec"];
    spec["kafka"]["partitions"] = json!(1);
    spec["image"] = json!("rocketmart:1");
    spec["imagePullSecrets"] = json!([{ "name": "registry" }]);
    spec["ingressClassName"] = json!("public");
    spec["tls"] = json!({ "name": "certificate" });
    spec["publicUrl"] = json!("https://shop.example");
    spec["tokens"] = json!({ "accessSeconds": 900 });
    spec["components"]["search"] = json!({
        "env": [{ "name": "A", "value": "b" }],
        "nodeSelector": { "a": "b" },
        "resources": { "requests": { "cpu": "1" }, "limits": { "memory": "1Gi" } },
        "tolerations": [{ "key": "a", "operator": "Exists" }],
    });

    let of = |key: &str| json!({ "name": "outside", "key": key });
    let mut elsewhere = shop(brokers);
    let spec = &mut elsewhere["spec"];
    spec["kafka"]["partitions"] = json!(1);
    spec["gateway"] =
        json!({ "parentRefs": [{ "name": "public", "namespace": "web", "sectionName": "https" }] });
    spec["redis"] = json!({
        "sentinel": {
            "addresses": "sentinel:26379", "masterName": "main", "tls": true, "username": "shop",
            "passwordSecretRef": of("password"), "sentinelPasswordSecretRef": of("password"),
        },
        "caSecretRef": of("ca"),
    });
    spec["smtp"] = json!({ "urlSecretRef": of("url") });
    spec["catalog"] = json!({
        "store": "cassandra",
        "cassandra": { "contactPoints": "cassandra:9042", "secretRef": { "name": "outside" } },
    });

    // Nobody speaks TLS there.
    let mut secured = shop(brokers);
    let spec = &mut secured["spec"];
    spec["redis"] = json!({
        "cluster": { "addresses": "redis:6379", "username": "shop", "passwordSecretRef": of("password") },
    });
    spec["kafka"]["tls"] = json!({ "caSecretRef": of("ca") });
    spec["kafka"]["sasl"] = json!({ "mechanism": "SCRAM-SHA-256", "secretRef": { "name": "outside" } });
    [plain, elsewhere, secured]
}

async fn apply_secrets(cluster: &Cluster) {
    cluster.apply_secrets().await;
    let outside = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "outside" },
        "stringData": { "url": "smtps://mail", "ca": "none", "user": "shop", "password": "secret" },
    });
    cluster.apply(outside).await.unwrap();
}

/// All namespaced kinds that can be listed.
fn kinds(server: &ApiServer) -> String {
    let names = server.kubectl(&["api-resources", "--namespaced", "--verbs=list", "--output=name"]).unwrap();
    // Events are about objects and outlive them.
    names.lines().filter(|name| !name.starts_with("events")).collect::<Vec<_>>().join(",")
}

/// Picks by chance which Shops to create.
fn some_of(mut taken: Vec<Taken>) -> Vec<Taken> {
    let mut dice = Dice(15);
    (0..MADE).map(|_| taken.swap_remove(dice.below(taken.len()))).collect()
}

struct Sweep {
    cluster: Cluster,
    api: Api<DynamicObject>,
    server: ApiServer,
    kinds: String,
    versions: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Sweep {
    /// The Shops that the API server accepts and does not consider the same as another. Creates nothing.
    async fn try_all(&self, plain_ones: &[Value]) -> Vec<Taken> {
        let combinations = asked_for().unwrap_or(COMBINATIONS) / plain_ones.len();
        let all = plain_ones.iter().flat_map(|plain| {
            let rounds = rounds(tries("Shop", plain), combinations);
            rounds.into_iter().map(move |changes| Taken { object: with(&changes, plain), changes })
        });
        let mut dice = Dice(16);
        let is_tried =
            |one: &Taken| one.changes.len() > 1 || asked_for().is_some() || dice.below(ONE_IN) == 0;
        let all: BTreeMap<String, Taken> =
            all.filter(is_tried).map(|one| (one.object.to_string(), one)).collect();
        let attempts = stream::iter(all.into_values()).map(async |one| {
            let dry_run = PostParams { dry_run: true, ..PostParams::default() };
            let object: DynamicObject = serde_json::from_value(one.object.clone()).unwrap();
            (one, self.api.create(&dry_run, &object).await)
        });
        let (mut taken, mut wrong, mut tried) = (BTreeMap::new(), Vec::new(), 0);
        for (one, outcome) in attempts.buffered(AT_ONCE).collect::<Vec<_>>().await {
            tried += 1;
            let changes = &one.changes;
            match outcome {
                Ok(object) => {
                    let object = serde_json::to_value(object).unwrap();
                    let spec = object["spec"].to_string();
                    match serde_json::from_value::<Shop>(object) {
                        Ok(_) => _ = taken.insert(spec, one),
                        Err(error) => wrong.push(format!("{changes:?} is taken and cannot be read: {error}")),
                    }
                }
                Err(kube::Error::Api(status)) if is_told(&status.message, changes) => {}
                Err(error) => wrong.push(format!("{changes:?}: {error}")),
            }
        }
        assert!(wrong.is_empty(), "{} of {tried}: {wrong:#?}", wrong.len());
        taken.into_values().collect()
    }

    async fn make_and_delete(&self, batch: &[Taken]) {
        let names = (0..batch.len()).map(|slot| format!("odd-{slot}")).collect::<Vec<_>>();
        let made = stream::iter(names.iter().zip(batch)).map(async |(name, one)| {
            let mut object = one.object.clone();
            object["metadata"]["name"] = json!(name);
            let object: DynamicObject = serde_json::from_value(object).unwrap();
            self.api.create(&PostParams::default(), &object).await.unwrap().uid().unwrap()
        });
        let uids: Vec<String> = made.buffered(AT_ONCE).collect().await;
        self.until_all("have a status", batch, has_a_status).await;
        let first: Vec<usize> = uids.iter().map(|uid| self.writes(uid)).collect();
        self.cluster.let_deployments_be_ready().await;
        self.until_quiet(batch, &uids).await;
        for ((uid, first), one) in uids.iter().zip(first).zip(batch) {
            let following = self.writes(uid) - first;
            let are_few = first <= MOST_WRITES && following <= MOST_FOLLOWING;
            assert!(are_few, "{first} writes, then {following}, for {:?}", one.changes);
        }

        for (slot, name) in names.iter().enumerate() {
            // Deletes as kubectl does, or as somebody does who waits until everything the Shop owns is
            // gone.
            let way = if slot % 2 == 0 { DeleteParams::background() } else { DeleteParams::foreground() };
            self.api.delete(name, &way).await.unwrap();
        }
        self.until_all("are gone", batch, |_| false).await;
        // The members outlive their shop. So does the Secret that opens them to a shop of the same name.
        let kept: BTreeSet<String> =
            names.iter().map(|name| format!("secret/{}", names::admin(name))).collect();
        eventually("nothing of them is left", async || {
            let left = self.left();
            left.iter().all(|name| kept.contains(name))
        })
        .await;
    }

    /// Waits until all of them look as described.
    async fn until_all(&self, what: &str, batch: &[Taken], looks: impl Fn(&DynamicObject) -> bool) {
        let limit = Instant::now() + PATIENCE;
        loop {
            let all = self.api.list(&ListParams::default()).await.unwrap();
            let others: Vec<_> =
                all.iter().filter(|object| !looks(object)).map(ResourceExt::name_any).collect();
            if others.is_empty() {
                return;
            }
            let changes = others.iter().map(|name| (name, &batch[slot(name)].changes));
            assert!(Instant::now() < limit, "not all {what}: {:#?}", changes.collect::<Vec<_>>());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits without a write to any of them, long enough that an operator that spins would have written.
    async fn until_quiet(&self, batch: &[Taken], uids: &[String]) {
        let limit = Instant::now() + PATIENCE;
        let writes = || uids.iter().map(|uid| self.writes(uid)).collect::<Vec<_>>();
        loop {
            let before = writes();
            tokio::time::sleep(QUIET).await;
            let now = writes();
            if now == before {
                return;
            }
            let busy = (0..batch.len()).filter(|slot| now[*slot] != before[*slot]);
            let busy: Vec<_> = busy.map(|slot| (now[slot], &batch[slot].changes)).collect();
            assert!(Instant::now() < limit, "still written to: {busy:#?}");
        }
    }

    /// How many writes so far; the creation is not one of the operator's.
    fn writes(&self, uid: &str) -> usize {
        self.versions.lock().unwrap().get(uid).copied().unwrap_or_default().saturating_sub(1)
    }

    /// Everything that carries the operator's labels.
    fn left(&self) -> BTreeSet<String> {
        let words = ["get", &self.kinds, "--namespace", &self.cluster.namespace, "--output=name"];
        let words = words.into_iter().chain(["--selector", names::MANAGED]).collect::<Vec<_>>();
        let said = tokio::task::block_in_place(|| self.server.kubectl(&words)).unwrap();
        said.lines().map(str::to_owned).collect()
    }
}

fn slot(name: &str) -> usize {
    name.rsplit('-').next().unwrap().parse().unwrap()
}
