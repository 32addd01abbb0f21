//! Random changes of a Shop, good and bad, in random order (after Acto). Whatever came before, the objects
//! are those of the last good spec. A bad spec is refused or reported, and the shop then recovers from it.

use kube::Api;
use rocketmart_crds::Shop;
use serde_json::{Value, json};

use crate::{
    children::children,
    cluster::{Cluster, brokers, condition, shop},
    dice::Dice,
};

/// Changes the spec to another good one.
fn change(spec: &mut Value, dice: &mut Dice) {
    match dice.below(9) {
        0 => spec["spec"]["image"] = json!(format!("rocketmart:{}", dice.below(5))),
        1 => spec["spec"]["host"] = json!(format!("shop-{}.example", dice.below(5))),
        2 => spec["spec"]["components"]["order"] = json!({ "replicas": dice.below(4) }),
        3 => {
            spec["spec"]["components"]["search"] =
                json!({ "env": [{ "name": "RUST_LOG", "value": "debug" }] });
        }
        4 => spec["spec"]["tokens"] = json!({ "accessSeconds": 60 + dice.below(9) }),
        5 => spec["spec"]["redis"] = json!({ "url": format!("redis://redis-{}:6379", dice.below(3)) }),
        6 => spec["spec"]["smtp"]["from"] = json!(format!("shop-{}@shop.example", dice.below(3))),
        7 => spec["spec"]["tls"] = json!({ "name": format!("tls-{}", dice.below(3)) }),
        _ => {
            let disk = ["ssd", "hdd"][dice.below(2)];
            spec["spec"]["components"]["payment"] = json!({ "nodeSelector": { "disk": disk } });
        }
    }
}

/// Makes the spec bad. The API server refuses some of these, and only the operator refuses the rest.
fn spoil(spec: &mut Value, dice: &mut Dice) {
    match dice.below(5) {
        0 => spec["spec"]["redis"] = json!({}),
        1 => spec["spec"]["components"]["orders"] = json!({}),
        2 => spec["spec"]["host"] = json!("not a host"),
        3 => spec["spec"]["postgresql"]["secretRef"]["name"] = json!("missing"),
        _ => spec["spec"]["paymentProvider"]["secretRef"]["key"] = json!("missing"),
    }
}

async fn settle(cluster: &Cluster) {
    let api: Api<Shop> = cluster.api();
    let generation = api.get("rocket").await.unwrap().metadata.generation;
    for _ in 0..300 {
        cluster.let_deployments_be_ready().await;
        let shop = api.get("rocket").await.unwrap();
        let seen = shop.status.as_ref().and_then(|status| status.observed_generation);
        let settled = condition(&shop, "Progressing", "False").is_some();
        // The only thing that may be wrong is a component declared with no replicas.
        let stopped =
            condition(&shop, "Ready", "False").is_some_and(|why| why.starts_with("declared with 0 replicas"));
        if seen == generation && settled && (stopped || condition(&shop, "Ready", "True").is_some()) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("never settled: {:?}", api.get("rocket").await.unwrap().status);
}

#[tokio::test(flavor = "multi_thread")]
async fn random_changes_end_where_the_last_good_spec_alone_leads() {
    let brokers = brokers().await;
    for seed in [1, 7, 42] {
        let mut dice = Dice(seed);
        let wandering = Cluster::new(&format!("random-{seed}")).await;
        wandering.apply_secrets().await;
        let operator = wandering.operator().await;
        let mut good = shop(&brokers);
        good["spec"]["kafka"]["partitions"] = json!(1);
        wandering.apply(good.clone()).await.unwrap();
        let mut bad = 0;
        for _ in 0..14 {
            if dice.below(3) == 0 {
                let mut spoiled = good.clone();
                spoil(&mut spoiled, &mut dice);
                bad += 1;
                if wandering.apply(spoiled).await.is_ok() {
                    wandering
                        .shop_that("named what is wrong", |shop| {
                            condition(shop, "Degraded", "True").is_some()
                        })
                        .await;
                }
            } else {
                change(&mut good, &mut dice);
                wandering.apply(good.clone()).await.unwrap();
            }
            // Sometimes the next change comes before the last one has taken effect.
            tokio::time::sleep(std::time::Duration::from_millis([0, 50, 600][dice.below(3)])).await;
        }
        assert!(bad > 0, "seed {seed} spoils nothing");
        wandering.apply(good.clone()).await.unwrap();
        settle(&wandering).await;
        operator.stop().await;

        let straight = Cluster::new(&format!("straight-{seed}")).await;
        straight.apply_secrets().await;
        let operator = straight.operator().await;
        straight.apply(good).await.unwrap();
        settle(&straight).await;
        operator.stop().await;
        let (found, expected) = (children(&wandering).await, children(&straight).await);
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "seed {seed}");
        for (name, object) in found {
            assert_eq!(object, expected[&name], "{name} after seed {seed}");
        }
    }
}
