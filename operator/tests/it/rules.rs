//! The API server's verdict on bad objects matches the rules' unit tests.

use serde_json::{Value, json};

use crate::cluster::{Cluster, shop};

fn sale() -> Value {
    json!({
        "apiVersion": "rocketmart.dev/v1alpha1",
        "kind": "FlashSale",
        "metadata": { "name": "launch" },
        "spec": {
            "shop": "rocket",
            "items": [{ "sku": "RM-1", "units": 100, "price": 19900, "perBuyerLimit": 2 }],
            "currency": "KRW",
            "opensAt": "2030-01-01T10:00:00Z",
            "closesAt": "2030-01-01T11:00:00Z",
        },
    })
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match object.pointer_mut(parent).unwrap() {
        Value::Array(items) if key == "-" => items.push(value),
        parent => parent[key] = value,
    }
    object
}

async fn refused(cluster: &Cluster, object: Value, message: &str) {
    let text = object.to_string();
    let error = cluster.apply(object).await.expect_err(&text).to_string();
    assert!(error.contains(message), "{text}\nshould say: {message}\nsays: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_sales_are_refused_with_a_reason() {
    let cluster = Cluster::new("bad-sales").await;
    let item = |field: &str, value: i64| {
        with(sale()["spec"]["items"][0].clone(), &format!("/{field}"), json!(value))
    };
    for (object, message) in [
        (with(sale(), "/spec/closesAt", json!("2030-01-01T09:00:00Z")), "closesAt has to be after opensAt"),
        (with(sale(), "/spec/items", json!([item("units", 0)])), "spec.items[0].units"),
        (with(sale(), "/spec/items", json!([item("units", -1)])), "spec.items[0].units"),
        (with(sale(), "/spec/items", json!([item("price", -1)])), "spec.items[0].price"),
        (
            with(sale(), "/spec/items", json!([item("perBuyerLimit", 101)])),
            "perBuyerLimit has to be at most units",
        ),
        (with(sale(), "/spec/items/-", item("units", 100)), "duplicate"),
        (with(sale(), "/spec/items", json!([])), "spec.items"),
        (with(sale(), "/spec/currency", json!("won")), "spec.currency"),
        (with(sale(), "/spec/preScale", json!({ "orders": 2 })), "a key of spec.preScale is one of"),
        (with(sale(), "/spec/opensAt", json!("tomorrow")), "spec.opensAt"),
        // K9
        (
            with(sale(), "/spec/closesAt", json!("9999-12-31T23:59:59Z")),
            "closesAt has to be a time between 2000 and 2099",
        ),
        (
            with(sale(), "/spec/opensAt", json!("0000-01-01T00:00:00Z")),
            "opensAt has to be a time between 2000 and 2099",
        ),
        (
            with(sale(), "/spec/closesAt", json!("2030-01-01T11:00:00.1234567890123Z")),
            "closesAt has to be a time between 2000 and 2099",
        ),
        // K10
        (with(sale(), "/spec/shop", json!("a/b")), "shop is the name of a Shop"),
        (with(sale(), "/spec/shop", json!("..")), "shop is the name of a Shop"),
        (with(sale(), "/spec/shop", json!("rocket-mart/status")), "shop is the name of a Shop"),
        (with(sale(), "/spec/shop", json!("rocket-mart?x=1")), "shop is the name of a Shop"),
        (with(sale(), "/spec/unknown", json!(1)), "unknown"),
    ] {
        refused(&cluster, object, message).await;
    }
    cluster.apply(sale()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_sale_loses_neither_units_nor_time_nor_its_price() {
    let cluster = Cluster::new("open-sale").await;
    cluster.apply(sale()).await.unwrap();
    // Before it is loaded, anything but the shop may change.
    cluster.apply(with(sale(), "/spec/items/0/units", json!(50))).await.unwrap();
    cluster.apply(sale()).await.unwrap();
    let open = json!({ "status": { "phase": "Open" } });
    let api = cluster.api::<rocketmart_crds::FlashSale>();
    let parameters = kube::api::PatchParams::default();
    api.patch_status("launch", &parameters, &kube::api::Patch::Merge(&open)).await.unwrap();

    for (pointer, value, message) in [
        ("/spec/items/0/units", json!(99), "units can grow but not shrink"),
        ("/spec/items/0/price", json!(1), "price can no longer change"),
        ("/spec/items/0/perBuyerLimit", json!(1), "perBuyerLimit can no longer change"),
        ("/spec/items/-", json!({ "sku": "RM-2", "units": 1, "price": 1 }), "can no longer be added"),
        ("/spec/items/0/sku", json!("RM-2"), "can no longer be taken out"),
        ("/spec/opensAt", json!("2030-01-01T09:00:00Z"), "opensAt can no longer change"),
        ("/spec/closesAt", json!("2030-01-01T10:30:00Z"), "closesAt can move later but not earlier"),
        ("/spec/shop", json!("other"), "a sale stays with its shop"),
    ] {
        refused(&cluster, with(sale(), pointer, value), message).await;
    }
    cluster.apply(with(sale(), "/spec/items/0/units", json!(101))).await.unwrap();
    let longer = with(sale(), "/spec/closesAt", json!("2030-01-01T12:00:00Z"));
    cluster
        .apply(with(with(longer, "/spec/items/0/units", json!(101)), "/spec/suspend", json!(true)))
        .await
        .unwrap();
}

/// K19: only a sentence of ours refuses `t` and `z`.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_in_small_letters_is_refused_by_our_rule_and_not_from_inside_cel() {
    let cluster = Cluster::new("small-letters").await;
    for time in ["2030-01-01t10:00:00z", "2030-01-01t10:00:00Z", "2030-01-01T10:00:00z"] {
        let error = cluster.apply(with(sale(), "/spec/opensAt", json!(time))).await.unwrap_err().to_string();
        assert!(error.contains("with capital T and Z"), "{error}");
        assert!(!error.contains("cannot parse") && !error.contains("evaluating"), "{error}");
    }
    // Written another way it is still the same moment, also for a loaded sale.
    cluster.apply(sale()).await.unwrap();
    in_phase(&cluster, "Open").await;
    cluster.apply(with(sale(), "/spec/opensAt", json!("2030-01-01T19:00:00.000+09:00"))).await.unwrap();
}

async fn in_phase(cluster: &Cluster, phase: &str) {
    let status = kube::api::Patch::Merge(json!({ "status": { "phase": phase } }));
    let api = cluster.api::<rocketmart_crds::FlashSale>();
    api.patch_status("launch", &kube::api::PatchParams::default(), &status).await.unwrap();
}

/// K17
#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_drains_refuses_what_it_would_ignore() {
    let cluster = Cluster::new("draining-sale").await;
    cluster.apply(sale()).await.unwrap();
    in_phase(&cluster, "Draining").await;
    for (pointer, value) in [
        ("/spec/items/0/units", json!(101)),
        ("/spec/closesAt", json!("2030-01-01T12:00:00Z")),
        ("/spec/suspend", json!(true)),
    ] {
        refused(&cluster, with(sale(), pointer, value), "this sale sells no more").await;
    }
    refused(
        &cluster,
        with(sale(), "/spec/preloadLeadSeconds", json!(5)),
        "preloadLeadSeconds can no longer change",
    )
    .await;
    cluster.apply(with(sale(), "/spec/preScale", json!({ "order": 2 }))).await.unwrap();
    cluster.apply(with(sale(), "/spec/closeEarly", json!(true))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_shops_are_refused_with_a_reason() {
    let cluster = Cluster::new("bad-shops").await;
    let shop = || shop("kafka:9092");
    let order = |spec: Value| json!({ "order": spec });
    for (object, message) in [
        (
            with(shop(), "/spec/redis", json!({})),
            "exactly one of redis.url, redis.urlSecretRef, redis.sentinel and redis.cluster",
        ),
        (with(shop(), "/spec/components", json!({ "orders": {} })), "a key of spec.components is one of"),
        (
            with(shop(), "/spec/components", order(json!({ "autoscaling": {} }))),
            "autoscaling on Kafka lag is for",
        ),
        (
            with(shop(), "/spec/components", json!({ "order-worker": { "replicas": 1, "autoscaling": {} } })),
            "either replicas or autoscaling",
        ),
        (
            with(
                with(shop(), "/spec/ingressClassName", json!("contour")),
                "/spec/gateway",
                json!({ "parentRefs": [{ "name": "public", "namespace": "edge" }] }),
            ),
            "either gateway or ingressClassName",
        ),
        (
            with(
                shop(),
                "/spec/gateway",
                json!({ "parentRefs": [
                    { "name": "public", "namespace": "edge" }, { "name": "public", "namespace": "edge" },
                ] }),
            ),
            "one Gateway, twice",
        ),
        (with(shop(), "/spec/kafka/brokers", json!("kafka")), "spec.kafka.brokers"),
        (
            with(shop(), "/spec/redis", json!({ "sentinel": { "addresses": "a", "masterName": "mart" } })),
            "spec.redis.sentinel.addresses",
        ),
        (
            with(
                shop(),
                "/spec/redis",
                json!({ "cluster": { "addresses": "a:6379,b:6379", "username": "shop" } }),
            ),
            "redis.cluster.username needs redis.cluster.passwordSecretRef",
        ),
        (with(shop(), "/spec/host", json!("Not A Host")), "spec.host"),
        // K10
        (
            with(shop(), "/spec/postgresql", json!({ "secretRef": { "name": "a/../b" } })),
            "name is the name of a Secret",
        ),
        (with(shop(), "/metadata/name", json!("a".repeat(41))), "at most 40 characters"),
        // K7
        (with(shop(), "/metadata/name", json!("my.shop")), "the name of a shop begins with a letter"),
        (with(shop(), "/metadata/name", json!("2026-shop")), "the name of a shop begins with a letter"),
    ] {
        refused(&cluster, object, message).await;
    }
    cluster.apply(shop()).await.unwrap();
    refused(&cluster, with(shop(), "/spec/kafka/partitions", json!(1)), "can grow but not shrink").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_are_accepted() {
    for (namespace, files) in [
        ("examples", &["shop.yaml", "flash-sale.yaml"][..]),
        // One of the two shops: a shop cannot change its store.
        ("examples-on-cassandra", &["shop-on-cassandra.yaml"]),
    ] {
        let cluster = Cluster::new(namespace).await;
        for file in files {
            let path = format!("{}/../examples/{file}", env!("CARGO_MANIFEST_DIR"));
            let mut object: Value = serde_norway::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            object["metadata"]["namespace"] = json!(cluster.namespace);
            cluster.apply(object).await.unwrap();
        }
    }
}
