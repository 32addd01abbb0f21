//! Each rule of the schema, accepting and refusing.

use serde_json::{Value, json};

use super::*;

fn shop() -> Value {
    json!({
        "apiVersion": "rocketmart.dev/v1alpha1",
        "kind": "Shop",
        "metadata": { "name": "rocket" },
        "spec": {
            "host": "shop.example",
            "redis": { "url": "redis://redis:6379" },
            "kafka": { "brokers": "kafka:9092", "partitions": 8 },
            "postgresql": { "secretRef": { "name": "databases" } },
            "smtp": { "url": "smtp://mail:1025" },
            "paymentProvider": { "url": "http://provider:8090", "secretRef": { "name": "provider", "key": "secret" } },
        },
    })
}

/// The shop with the value at a JSON pointer replaced.
fn shop_with(pointer: &str, value: Value) -> Shop {
    let mut shop = shop();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    shop.pointer_mut(parent).unwrap()[key] = value;
    serde_json::from_value(shop).unwrap()
}

#[track_caller]
fn accepts(pointer: &str, value: Value) {
    shop_with(pointer, value).validate_cel().unwrap();
}

#[track_caller]
fn refuses(pointer: &str, value: Value, message: &str) {
    let errors = shop_with(pointer, value).validate_cel().unwrap_err().to_string();
    assert!(errors.contains(message), "{errors}");
}

#[track_caller]
fn refuses_change(pointer: &str, value: Value, message: &str) {
    let old: Shop = serde_json::from_value(shop()).unwrap();
    let errors = shop_with(pointer, value).validate_cel_update(&old).unwrap_err().to_string();
    assert!(errors.contains(message), "{errors}");
}

#[test]
fn a_plain_shop_is_accepted_with_defaults_filled_in() {
    let shop: Shop = serde_json::from_value(shop()).unwrap();
    shop.validate_cel().unwrap();
    let tokens = Tokens { access_seconds: 900, refresh_seconds: 1_209_600, session_seconds: 7_776_000 };
    assert_eq!(shop.spec.tokens, tokens);
    assert_eq!(shop.spec.catalog.store, CatalogStore::Postgres);
    assert_eq!(shop.spec.postgresql.max_connections, 8);
}

#[test]
fn the_name_leaves_room_for_the_names_of_its_parts() {
    accepts("/metadata/name", json!("a".repeat(40)));
    refuses("/metadata/name", json!("a".repeat(41)), "at most 40 characters");
}

#[test]
fn k7_the_name_can_begin_the_name_of_a_service() {
    for name in ["a", "rocket-mart", "shop2026"] {
        accepts("/metadata/name", json!(name));
    }
    for name in ["my.shop", "2026-shop", "-shop", "shop-", "Shop", "1"] {
        refuses("/metadata/name", json!(name), "the name of a shop begins with a letter");
    }
}

#[test]
fn redis_has_exactly_one_address() {
    let secret = json!({ "name": "redis", "key": "url" });
    accepts("/spec/redis", json!({ "urlSecretRef": secret }));
    let sentinel = json!({ "addresses": "a:26379,b:26379", "masterName": "mart" });
    accepts("/spec/redis", json!({ "sentinel": sentinel }));
    accepts("/spec/redis", json!({ "cluster": { "addresses": "a:6379,b:6379" } }));
    let message = "exactly one of redis.url, redis.urlSecretRef, redis.sentinel and redis.cluster";
    refuses("/spec/redis", json!({}), message);
    refuses("/spec/redis", json!({ "url": "redis://r", "urlSecretRef": secret }), message);
    refuses("/spec/redis", json!({ "url": "redis://r", "sentinel": sentinel }), message);
    refuses("/spec/redis", json!({ "urlSecretRef": secret, "sentinel": sentinel }), message);
    refuses("/spec/redis", json!({ "cluster": { "addresses": "a:6379" }, "sentinel": sentinel }), message);
}

#[test]
fn a_user_of_redis_has_a_password() {
    let sentinel = |more: Value| {
        let mut sentinel = json!({ "addresses": "a:26379", "masterName": "mart" });
        sentinel.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "sentinel": sentinel })
    };
    let password = json!({ "name": "redis", "key": "password" });
    accepts("/spec/redis", sentinel(json!({ "username": "shop", "passwordSecretRef": password })));
    accepts("/spec/redis", sentinel(json!({ "passwordSecretRef": password })));
    refuses("/spec/redis", sentinel(json!({ "username": "shop" })), "username needs redis.sentinel.password");
    let cluster = json!({ "cluster": { "addresses": "a:6379", "username": "shop" } });
    refuses("/spec/redis", cluster, "username needs redis.cluster.password");
}

#[test]
fn who_signed_the_certificate_of_redis_is_said_with_tls_only() {
    let redis = |place: &str, value: Value| json!({ place: value, "caSecretRef": { "name": "redis", "key": "ca.crt" } });
    let sentinel = |tls| json!({ "addresses": "a:26379", "masterName": "mart", "tls": tls });
    accepts("/spec/redis", redis("url", json!("rediss://r:6379")));
    accepts("/spec/redis", redis("urlSecretRef", json!({ "name": "redis", "key": "url" })));
    accepts("/spec/redis", redis("sentinel", sentinel(true)));
    let cluster = |tls| json!({ "addresses": "a:6379", "tls": tls });
    accepts("/spec/redis", redis("cluster", cluster(true)));
    refuses("/spec/redis", redis("cluster", cluster(false)), "redis.caSecretRef is for TLS");
    refuses("/spec/redis", redis("url", json!("redis://r:6379")), "redis.caSecretRef is for TLS");
    refuses("/spec/redis", redis("sentinel", sentinel(false)), "redis.caSecretRef is for TLS");
}

#[test]
fn mail_has_exactly_one_address() {
    let secret = json!({ "name": "mail", "key": "url" });
    accepts("/spec/smtp", json!({ "urlSecretRef": secret }));
    refuses("/spec/smtp", json!({}), "exactly one of smtp.url and smtp.urlSecretRef");
    refuses("/spec/smtp", json!({ "url": "smtp://m", "urlSecretRef": secret }), "exactly one of smtp.url");
}

#[test]
fn a_shop_has_one_entrance_and_one_holder_of_its_certificate() {
    let gateway =
        json!({ "parentRefs": [{ "name": "public", "namespace": "edge", "sectionName": "https" }] });
    let with_gateway = |field: &str, value: Value| {
        let mut shop = shop();
        shop["spec"]["gateway"] = gateway.clone();
        shop["spec"][field] = value;
        serde_json::from_value::<Shop>(shop).unwrap().validate_cel().map_err(|errors| errors.to_string())
    };
    accepts("/spec/gateway", gateway.clone());
    assert!(with_gateway("ingressClassName", json!("contour")).unwrap_err().contains("either gateway or"));
    assert!(with_gateway("tls", json!({ "name": "tls" })).unwrap_err().contains("tls is for an Ingress"));
}

#[test]
fn a_gateway_is_named_once() {
    let gateways = |references: Value| json!({ "parentRefs": references });
    accepts(
        "/spec/gateway",
        gateways(json!([{ "name": "a", "sectionName": "x" }, { "name": "a", "sectionName": "y" }])),
    );
    accepts("/spec/gateway", gateways(json!([{ "name": "a" }, { "name": "a", "namespace": "edge" }])));
    refuses("/spec/gateway", gateways(json!([{ "name": "a" }, { "name": "a" }])), "one Gateway, twice");
}

#[test]
fn refresh_tokens_outlive_access_tokens() {
    accepts("/spec/tokens", json!({ "accessSeconds": 60, "refreshSeconds": 61 }));
    refuses(
        "/spec/tokens",
        json!({ "accessSeconds": 60, "refreshSeconds": 60 }),
        "refreshSeconds has to be larger",
    );
}

#[test]
fn a_component_has_either_replicas_or_autoscaling() {
    accepts("/spec/components", json!({ "order-worker": { "replicas": 2 } }));
    accepts("/spec/components", json!({ "order-worker": { "autoscaling": {} } }));
    refuses(
        "/spec/components",
        json!({ "order-worker": { "replicas": 2, "autoscaling": {} } }),
        "either replicas or autoscaling",
    );
}

#[test]
fn only_components_with_a_consumer_group_scale_on_lag() {
    for component in Component::ALL {
        let components = json!({ component.as_str(): { "autoscaling": {} } });
        if component.has_consumer_group() {
            accepts("/spec/components", components);
        } else {
            refuses("/spec/components", components, "autoscaling on Kafka lag is for");
        }
    }
}

#[test]
fn a_component_that_does_not_exist_is_refused() {
    let schema = serde_json::to_value(<Shop as kube::CustomResourceExt>::crd()).unwrap();
    let rules = schema.pointer(
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/components/x-kubernetes-validations",
    );
    assert!(rules.unwrap()[0]["rule"].as_str().unwrap().contains("'order-worker'"));
}

#[test]
fn the_minimum_is_at_most_the_maximum() {
    let range = |min, max| json!({ "order-worker": { "autoscaling": { "minReplicaCount": min, "maxReplicaCount": max } } });
    accepts("/spec/components", range(2, 2));
    refuses("/spec/components", range(3, 2), "minReplicaCount has to be at most maxReplicaCount");
}

#[test]
fn replicas_follow_either_a_threshold_or_a_drain_time() {
    let autoscaling = |autoscaling: Value| json!({ "order-worker": { "autoscaling": autoscaling } });
    accepts("/spec/components", autoscaling(json!({ "lagThreshold": 100 })));
    accepts("/spec/components", autoscaling(json!({ "targetDrainSeconds": 10 })));
    refuses(
        "/spec/components",
        autoscaling(json!({ "lagThreshold": 100, "targetDrainSeconds": 10 })),
        "either lagThreshold or targetDrainSeconds",
    );
}

#[test]
fn a_password_is_not_sent_to_kafka_as_it_is_without_tls() {
    let sasl = |mechanism: &str| json!({ "mechanism": mechanism, "secretRef": { "name": "kafka" } });
    accepts("/spec/kafka/sasl", sasl("SCRAM-SHA-256"));
    refuses("/spec/kafka/sasl", sasl("PLAIN"), "PLAIN sends the password as it is, so it needs kafka.tls");
    let over_tls = json!({ "brokers": "kafka:9093", "tls": {}, "sasl": sasl("PLAIN") });
    accepts("/spec/kafka", over_tls);
}

#[test]
fn topics_keep_their_shape() {
    refuses_change("/spec/kafka/partitions", json!(7), "can grow but not shrink");
    refuses_change("/spec/kafka/replicationFactor", json!(3), "replicationFactor cannot be changed");
    let old: Shop = serde_json::from_value(shop()).unwrap();
    shop_with("/spec/kafka/partitions", json!(9)).validate_cel_update(&old).unwrap();
}

#[test]
fn products_do_not_move_between_stores() {
    let cassandra = json!({ "store": "cassandra", "cassandra": { "contactPoints": "cassandra:9042" } });
    refuses_change("/spec/catalog", cassandra, "catalog.store cannot be changed");
}

#[test]
fn a_catalog_in_cassandra_says_where_that_is() {
    accepts("/spec/catalog", json!({ "store": "postgres" }));
    accepts("/spec/catalog", json!({ "store": "cassandra", "cassandra": { "contactPoints": "a:9042,b" } }));
    refuses("/spec/catalog", json!({ "store": "cassandra" }), "catalog.cassandra is needed");
}
