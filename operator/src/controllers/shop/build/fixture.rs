//! A shop and its surroundings, for tests.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use rocketmart_crds::{Shop, shop::Kafka};
use serde_json::json;

use crate::controllers::shop::{
    facts::{Facts, Live},
    names,
    validate::validate,
    validated_shop::ValidatedShop,
};

pub(in crate::controllers::shop) fn shop() -> Shop {
    serde_json::from_value(json!({
        "apiVersion": "rocketmart.dev/v1alpha1",
        "kind": "Shop",
        "metadata": {
            "name": "rocket",
            "namespace": "mart",
            "uid": "5d1f7d0e-8a43-4c0b-9a43-2d3c9f0f6a01",
            "generation": 1,
        },
        "spec": {
            "host": "shop.example",
            "ingressClassName": "contour",
            "redis": { "url": "redis://redis:6379" },
            "kafka": { "brokers": "kafka:9092" },
            "postgresql": { "secretRef": { "name": "databases" } },
            "smtp": { "url": "smtp://mail:1025" },
            "paymentProvider": {
                "url": "http://provider:8090",
                "secretRef": { "name": "payment-provider", "key": "secret" },
            },
            "components": {
                "order": { "replicas": 2 },
                "order-worker": { "autoscaling": { "maxReplicaCount": 4 } },
            },
        },
    }))
    .unwrap()
}

/// The same with its catalog in Cassandra.
pub(in crate::controllers::shop) fn shop_on_cassandra() -> Shop {
    let mut shop = shop();
    shop.spec.catalog = serde_json::from_value(json!({
        "store": "cassandra",
        "cassandra": { "contactPoints": "cassandra:9042", "secretRef": { "name": "cassandra" } },
    }))
    .unwrap();
    shop
}

/// The same, on a group of Redis servers that Sentinels watch over.
pub(in crate::controllers::shop) fn shop_on_sentinel() -> Shop {
    let mut shop = shop();
    shop.spec.redis = serde_json::from_value(json!({
        "caSecretRef": { "name": "redis", "key": "ca.crt" },
        "sentinel": {
            "tls": true,
            "addresses": "sentinel-0:26379,sentinel-1:26379",
            "masterName": "mart",
            "username": "shop",
            "passwordSecretRef": { "name": "redis", "key": "password" },
            "sentinelPasswordSecretRef": { "name": "redis", "key": "sentinel-password" },
        },
    }))
    .unwrap();
    shop
}

/// A Kafka with TLS and a log-in.
pub(in crate::controllers::shop) fn secured_kafka() -> Kafka {
    serde_json::from_value(json!({
        "brokers": "kafka:9093",
        "tls": { "caSecretRef": { "name": "kafka-ca", "key": "ca.crt" } },
        "sasl": { "secretRef": { "name": "kafka" } },
    }))
    .unwrap()
}

/// The same, on a cluster of Redis.
pub(in crate::controllers::shop) fn shop_on_redis_cluster() -> Shop {
    let mut shop = shop();
    shop.spec.redis = serde_json::from_value(json!({
        "cluster": {
            "addresses": "redis-0:6379,redis-1:6379",
            "minReplicas": 2,
            "passwordSecretRef": { "name": "redis", "key": "password" },
        },
    }))
    .unwrap();
    shop
}

pub(in crate::controllers::shop) fn secret(keys: &[&str]) -> Secret {
    let value = |key: &str| ByteString(format!("value of {key}").into_bytes());
    Secret {
        data: Some(keys.iter().map(|key| ((*key).to_owned(), value(key))).collect()),
        ..Secret::default()
    }
}

pub(in crate::controllers::shop) fn facts() -> Facts {
    Facts {
        secrets: BTreeMap::from([
            ("databases".into(), Some(secret(&["member", "catalog", "order", "payment", "delivery"]))),
            ("payment-provider".into(), Some(secret(&["secret"]))),
            ("cassandra".into(), Some(secret(&["user", "password"]))),
            ("redis".into(), Some(secret(&["ca.crt", "password", "sentinel-password"]))),
            ("kafka".into(), Some(secret(&["user", "password"]))),
            ("kafka-ca".into(), Some(secret(&["ca.crt"]))),
        ]),
        keys: keys(),
        live: Live::default(),
        autoscalers: Vec::new(),
        sales: Vec::new(),
        topics: Ok(BTreeMap::new()),
        pods: Vec::new(),
        unready: BTreeMap::new(),
    }
}

pub(in crate::controllers::shop) fn keys() -> BTreeMap<String, Secret> {
    BTreeMap::from([
        (names::signing_key("rocket"), secret(&[names::SIGNING_KEY])),
        (names::operator_token("rocket"), secret(&[names::OPERATOR_TOKEN])),
        (names::internal_token("rocket"), secret(&[names::INTERNAL_TOKEN])),
        (names::admin("rocket"), secret(&[names::ADMIN_EMAIL, names::ADMIN_PASSWORD])),
    ])
}

pub(in crate::controllers::shop) fn valid(shop: &Shop) -> ValidatedShop {
    validate(shop, &facts(), "rocketmart:0.1.0").ok().unwrap()
}
