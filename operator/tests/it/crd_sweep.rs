//! A sweep over a definition, made from its schema: odd values for each field, one at a time, and several at
//! once at random. What the API server takes leads within a minute to a status, with at most three writes, and
//! a deletion that ends; what it refuses names the field.
//!
//! Short in the tier `operator`; `CRD_SWEEP=500` tries so many random combinations.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, PostParams},
    core::ApiResource,
    runtime::{WatchStreamExt, watcher},
};
use rocketmart_crds::{FlashSale, Shop};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, shop},
    dice::Dice,
    market::{Market, launch},
    odd::{Try, tries},
    order_service::eventually,
};

const AT_ONCE: usize = 16;
/// Random combinations, when nothing else is said.
const COMBINATIONS: usize = 40;
/// A finalizer, the phase in which stock is loaded, and what came of it.
const MOST_WRITES: usize = 3;

fn sales(cluster: &Cluster) -> Api<DynamicObject> {
    Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &ApiResource::erase::<FlashSale>(&()))
}

/// Versions of each object, by its watch; the first is its creation.
fn count_versions(api: Api<DynamicObject>) -> Arc<Mutex<BTreeMap<String, usize>>> {
    let versions: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let counted = versions.clone();
    let mut changes = Box::pin(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
    tokio::spawn(async move {
        while let Some(change) = changes.next().await {
            if let Ok(object) = change {
                *counted.lock().unwrap().entry(object.name_any()).or_default() += 1;
            }
        }
    });
    versions
}

fn combinations() -> usize {
    std::env::var("CRD_SWEEP").ok().and_then(|count| count.parse().ok()).unwrap_or(COMBINATIONS)
}

/// What is tried together: each alone, then some at random.
fn rounds(all: Vec<Try>) -> Vec<Vec<Try>> {
    let mut dice = Dice(15);
    let together: Vec<Vec<Try>> = (0..combinations())
        .map(|_| (0..2 + dice.below(3)).map(|_| all[dice.below(all.len())].clone()).collect())
        .collect();
    all.into_iter().map(|alone| vec![alone]).chain(together).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sale_that_the_api_server_takes_gets_a_status_and_goes_and_every_other_is_told_its_field() {
    let market = Market::open("swept-sales").await;
    let operator = market.operator(1).await;
    let api = sales(&market.cluster);
    let versions = count_versions(api.clone());
    let mut plain = launch(40_000_000, 600, 1);
    plain["spec"]["preScale"] = json!({ "order": 1 });
    plain["spec"]["closeEarly"] = json!(false);
    let all = tries("FlashSale", &plain);
    assert!(all.len() > 200, "{} values to try", all.len());

    let attempts = stream::iter(rounds(all).into_iter().enumerate()).map(|(number, changes)| {
        let (api, mut object) = (api.clone(), plain.clone());
        async move {
            for change in &changes {
                // Another change may have taken its parent away.
                let (parent, _) = change.pointer.rsplit_once('/').unwrap();
                if object.pointer(parent).is_some_and(Value::is_object) {
                    change.put_into(&mut object);
                }
            }
            object["metadata"]["name"] = json!(format!("odd-{number}"));
            let object: DynamicObject = serde_json::from_value(object).unwrap();
            (changes, api.create(&PostParams::default(), &object).await)
        }
    });
    let mut taken = BTreeMap::new();
    let mut refused = 0;
    for (changes, outcome) in attempts.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await {
        match outcome {
            Ok(object) => _ = taken.insert(object.name_any(), changes),
            Err(kube::Error::Api(status)) => {
                refused += 1;
                let is_told = is_told(&status.message, &changes);
                assert!((400..500).contains(&status.code) && is_told, "{}: {changes:?}", status.message);
            }
            Err(other) => panic!("{other}: {changes:?}"),
        }
    }
    assert!(taken.len() > 30 && refused > 100, "{} taken, {refused} refused", taken.len());

    let told = |object: &DynamicObject| {
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "Ready")
    };
    eventually("each has a status", async || {
        let silent = api.list(&kube::api::ListParams::default()).await.unwrap();
        silent.iter().all(told)
    })
    .await;
    // Long enough for one that spins.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let written = versions.lock().unwrap().clone();
    for (name, changes) in &taken {
        let writes = written.get(name).copied().unwrap_or_default().saturating_sub(1);
        let seen = api.get(name).await.unwrap();
        assert!(writes <= MOST_WRITES, "{writes} writes for {changes:?}: {}", seen.data["status"]);
    }

    let names = stream::iter(taken.keys().cloned());
    let deletions = names.map(|name| {
        let api = api.clone();
        async move { api.delete(&name, &DeleteParams::default()).await.map(drop) }
    });
    deletions.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await.unwrap();
    eventually("each is gone", async || {
        let left = api.list(&kube::api::ListParams::default()).await.unwrap();
        left.items.is_empty()
    })
    .await;
    let [on_hand, allotted] = market.service.backing.standing().await;
    assert_eq!((on_hand, allotted), (100, 0), "every unit is back");
    operator.stop().await;
}

/// A Shop is a lot of work for the API server; whether it is taken, and can be read, is told without making it.
#[tokio::test(flavor = "multi_thread")]
async fn every_shop_that_the_api_server_takes_can_be_read_and_every_other_is_told_its_field() {
    let cluster = Cluster::new("swept-shops").await;
    let api: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &ApiResource::erase::<Shop>(&()));
    let mut plain = shop("kafka:9092");
    plain["spec"]["components"]["search"] = json!({ "env": [{ "name": "A", "value": "b" }] });
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let attempts = stream::iter(tries("Shop", &plain)).map(|change| {
        let mut object = plain.clone();
        change.put_into(&mut object);
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let (api, dry_run) = (&api, &dry_run);
        async move { (change, api.create(dry_run, &object).await) }
    });
    let outcomes = attempts.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    let mut wrong = Vec::new();
    for (change, outcome) in &outcomes {
        match outcome {
            Ok(taken) => {
                let taken = serde_json::to_value(taken).unwrap();
                let read = serde_json::from_value::<Shop>(taken);
                wrong.extend(
                    read.err().map(|error| format!("{change:?} is taken and cannot be read: {error}")),
                );
            }
            Err(kube::Error::Api(status)) if is_told(&status.message, std::slice::from_ref(change)) => {}
            Err(error) => wrong.push(format!("{change:?}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), outcomes.len());
}

/// Whether a refusal names a field that was changed, in words that are not CEL's own. A whole number with a
/// decimal point never gets as far as a rule of ours; the API server says what it expected.
fn is_told(message: &str, changes: &[Try]) -> bool {
    let names_a_field = changes.iter().any(|change| message.contains(change.field()));
    let is_a_float = message.contains("expected int, got float64");
    names_a_field && (is_a_float || !message.contains("evaluating")) && !message.contains("cannot parse")
}

#[test]
fn a_value_goes_where_its_field_is() {
    let mut object: Value = json!({ "spec": { "items": [{ "sku": "A" }] } });
    let at = |pointer: &str, value| Try { pointer: pointer.to_owned(), value };
    at("/spec/items/0/sku", Some(json!("B"))).put_into(&mut object);
    at("/spec/shop", Some(json!(1))).put_into(&mut object);
    assert_eq!(object, json!({ "spec": { "items": [{ "sku": "B" }], "shop": 1 } }));
    at("/spec/items", None).put_into(&mut object);
    assert_eq!(object, json!({ "spec": { "shop": 1 } }));
    assert_eq!(at("/spec/items/0", None).field(), "items");
}
