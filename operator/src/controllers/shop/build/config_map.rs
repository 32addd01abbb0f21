//! The plain configuration of a component: docs/contracts.md, "Configuration". Secret values come from
//! Secrets, see the Deployment.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use rocketmart_crds::{Component, shop::Redis};

use super::component_child;
use crate::controllers::shop::{names, profile, validated_shop::ValidatedShop};

pub(super) fn build(shop: &ValidatedShop, component: Component) -> ConfigMap {
    ConfigMap {
        metadata: component_child(shop, component),
        data: Some(
            variables(shop, component).into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ),
        ..ConfigMap::default()
    }
}

fn variables(shop: &ValidatedShop, component: Component) -> BTreeMap<&'static str, String> {
    let (needs, spec) = (component.needs(), &shop.spec);
    let mut variables = BTreeMap::from([("LOG_FORMAT", "json".to_owned())]);
    if component.serves_http() {
        let member = names::of_component(&shop.name, Component::Member);
        variables.insert("AUTH_JWKS_URL", format!("http://{member}/.well-known/jwks.json"));
        variables.insert("AUTH_REVOCATIONS_URL", format!("http://{member}/internal/v1/revocations"));
    }
    if profile::database(component, spec).is_some() {
        variables.insert("DATABASE_MAX_CONNECTIONS", spec.postgresql.max_connections.to_string());
    }
    if let Some(cassandra) = profile::cassandra(component, spec) {
        variables.insert("CASSANDRA_CONTACT_POINTS", cassandra.contact_points.clone());
        variables.insert("CASSANDRA_DATACENTER", cassandra.datacenter.clone());
        variables.insert("CASSANDRA_KEYSPACE", cassandra.keyspace.clone());
        variables.insert("CASSANDRA_REPLICATION_FACTOR", cassandra.replication_factor.to_string());
    }
    let keeps_data = profile::database(component, spec).is_some()
        || profile::cassandra(component, spec).is_some()
        || needs.redis;
    if keeps_data {
        variables.insert("SHOP_ID", names::id(&shop.namespace, &shop.name));
    }
    if needs.redis {
        variables.extend(redis(&spec.redis));
    }
    if needs.kafka {
        variables.insert("KAFKA_BROKERS", spec.kafka.brokers.clone());
        variables.insert("KAFKA_TOPIC_PREFIX", shop.topic_prefix());
        if spec.kafka.tls.is_some() {
            variables.insert("KAFKA_TLS", "true".to_owned());
        }
        if let Some(sasl) = &spec.kafka.sasl {
            variables.insert("KAFKA_SASL_MECHANISM", sasl.mechanism.as_str().to_owned());
        }
    }
    if needs.payment_provider {
        variables.insert("PAYMENT_PROVIDER_URL", spec.payment_provider.url.clone());
    }
    match component {
        Component::Member => {
            variables.insert("PUBLIC_URL", shop.public_url.clone());
            variables.insert("MAIL_FROM", spec.smtp.from.clone());
            variables.insert("ACCESS_TOKEN_SECONDS", spec.tokens.access_seconds.to_string());
            variables.insert("REFRESH_TOKEN_SECONDS", spec.tokens.refresh_seconds.to_string());
            variables.insert("SESSION_SECONDS", spec.tokens.session_seconds.to_string());
            if let Some(url) = &spec.smtp.url {
                variables.insert("SMTP_URL", url.clone());
            }
        }
        Component::Order => {
            let address = |of| format!("http://{}", names::of_component(&shop.name, of));
            variables.insert("PAYMENT_URL", address(Component::Payment));
            variables.insert("DELIVERY_URL", address(Component::Delivery));
        }
        Component::Catalog => _ = variables.insert("CATALOG_STORE", spec.catalog.store.as_str().to_owned()),
        _ => {}
    }
    variables
}

fn redis(redis: &Redis) -> Vec<(&'static str, String)> {
    let mut variables: Vec<_> = redis.url.iter().map(|url| ("REDIS_URL", url.clone())).collect();
    if let Some(sentinel) = &redis.sentinel {
        variables.push(("REDIS_SENTINELS", sentinel.addresses.clone()));
        variables.push(("REDIS_SENTINEL_MASTER", sentinel.master_name.clone()));
        variables.push(("REDIS_TLS", sentinel.tls.to_string()));
        variables.push(("REDIS_MIN_REPLICAS", sentinel.min_replicas.to_string()));
        variables.extend(sentinel.username.iter().map(|user| ("REDIS_USERNAME", user.clone())));
    }
    if let Some(cluster) = &redis.cluster {
        variables.push(("REDIS_CLUSTER", cluster.addresses.clone()));
        variables.push(("REDIS_TLS", cluster.tls.to_string()));
        variables.push(("REDIS_MIN_REPLICAS", cluster.min_replicas.to_string()));
        variables.extend(cluster.username.iter().map(|user| ("REDIS_USERNAME", user.clone())));
    }
    variables
}
