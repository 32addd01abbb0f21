//! A sweep over the definition of a sale, made from its schema. It tries odd values for each field, one at
//! a time, and several at once at random. What the API server accepts gets a status within a minute, takes
//! at most three writes, and can be deleted. What it refuses names the field. The sweep for a Shop is in
//! [`shop_sweep`](crate::shop_sweep).
//!
//! Short in the tier `operator`; `CRD_SWEEP=500` tries that many random combinations.

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
use rocketmart_crds::FlashSale;
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    dice::Dice,
    market::{Market, launch},
    odd::{Try, tries},
    order_service::eventually,
};

/// Requests.
pub const AT_ONCE: usize = 16;
/// How many random combinations to try by default.
const COMBINATIONS: usize = 40;
/// A finalizer, the phase in which stock is loaded, and what came of it.
const MOST_WRITES: usize = 3;

fn sales(cluster: &Cluster) -> Api<DynamicObject> {
    Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &ApiResource::erase::<FlashSale>(&()))
}

/// The versions of each object by its uid, as its watch reports them; the first is its creation.
pub fn count_versions(api: Api<DynamicObject>) -> Arc<Mutex<BTreeMap<String, usize>>> {
    let versions: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let counted = versions.clone();
    let mut changes = Box::pin(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
    tokio::spawn(async move {
        while let Some(change) = changes.next().await {
            if let Ok(object) = change {
                *counted.lock().unwrap().entry(object.uid().unwrap()).or_default() += 1;
            }
        }
    });
    versions
}

/// How many combinations somebody asked for, if any.
pub fn asked_for() -> Option<usize> {
    std::env::var("CRD_SWEEP").ok()?.parse().ok()
}

/// What to try together: first each value alone, then some at random.
pub fn rounds(all: Vec<Try>, combinations: usize) -> Vec<Vec<Try>> {
    let mut dice = Dice(15);
    let together: Vec<Vec<Try>> = (0..combinations)
        .map(|_| (0..2 + dice.below(3)).map(|_| all[dice.below(all.len())].clone()).collect())
        .collect();
    all.into_iter().map(|alone| vec![alone]).chain(together).collect()
}

/// The object with these changes, as far as each still has a place.
pub fn with(changes: &[Try], plain: &Value) -> Value {
    let mut object = plain.clone();
    for change in changes {
        // Another change may have removed its parent.
        let (parent, _) = change.pointer.rsplit_once('/').unwrap();
        if object.pointer(parent).is_some_and(|parent| parent.is_object() || parent.is_array()) {
            change.put_into(&mut object);
        }
    }
    object
}

/// Whether the object's status says how it is.
pub fn has_a_status(object: &DynamicObject) -> bool {
    let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == "Ready")
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

    let rounds = rounds(all, asked_for().unwrap_or(COMBINATIONS));
    let attempts = stream::iter(rounds.into_iter().enumerate()).map(|(number, changes)| {
        let (api, mut object) = (api.clone(), with(&changes, &plain));
        async move {
            object["metadata"]["name"] = json!(format!("odd-{number}"));
            let object: DynamicObject = serde_json::from_value(object).unwrap();
            (changes, api.create(&PostParams::default(), &object).await)
        }
    });
    let mut taken = BTreeMap::new();
    let mut refused = 0;
    for (changes, outcome) in attempts.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await {
        match outcome {
            Ok(object) => _ = taken.insert(object.name_any(), (object.uid().unwrap(), changes)),
            Err(kube::Error::Api(status)) => {
                refused += 1;
                let is_told = is_told(&status.message, &changes);
                assert!((400..500).contains(&status.code) && is_told, "{}: {changes:?}", status.message);
            }
            Err(other) => panic!("{other}: {changes:?}"),
        }
    }
    assert!(taken.len() > 30 && refused > 100, "{} taken, {refused} refused", taken.len());

    eventually("each has a status", async || {
        let all = api.list(&kube::api::ListParams::default()).await.unwrap();
        all.iter().all(has_a_status)
    })
    .await;
    // Long enough to catch an operator that keeps writing.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let written = versions.lock().unwrap().clone();
    for (name, (uid, changes)) in &taken {
        let writes = written.get(uid).copied().unwrap_or_default().saturating_sub(1);
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

/// Whether a refusal names a field that was changed, in words that are not CEL's own. A whole number with a
/// decimal point never reaches a rule of ours; the API server says what it expected.
pub fn is_told(message: &str, changes: &[Try]) -> bool {
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
