//! What a component's pods read at their start: variables, and a checksum that rolls the pods when it
//! changes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, EnvVar, EnvVarSource, Secret, SecretKeySelector};
use rocketmart_crds::{Component, shop::SecretKeyReference};
use sha2::{Digest, Sha256};

use crate::{
    controllers::shop::{names, profile, validated_shop::ValidatedShop},
    kafka,
};

pub(super) const SIGNING_KEY_FOLDER: &str = "/etc/rocketmart/signing-key";
pub(super) const REDIS_CA_FOLDER: &str = "/etc/rocketmart/redis-ca";

/// The variables that come from Secrets, then the user's own; on a clash the user's value wins.
pub(super) fn environment(shop: &ValidatedShop, component: Component) -> Vec<EnvVar> {
    let (needs, spec) = (component.needs(), &shop.spec);
    let mut env = BTreeMap::new();
    let mut from_secret = |variable: &str, secret: &str, key: &str| {
        env.insert(variable.to_owned(), secret_variable(variable, secret, key));
    };
    if let Some(key) = profile::database(component, spec) {
        from_secret("DATABASE_URL", &spec.postgresql.secret_ref.name, key);
    }
    if let Some(secret) = profile::cassandra(component, spec).and_then(|it| it.secret_ref.as_ref()) {
        from_secret("CASSANDRA_USER", &secret.name, "user");
        from_secret("CASSANDRA_PASSWORD", &secret.name, "password");
    }
    if needs.redis {
        let sentinel = spec.redis.sentinel.as_ref();
        for (variable, reference) in [
            ("REDIS_URL", spec.redis.url_secret_ref.as_ref()),
            ("REDIS_PASSWORD", sentinel.and_then(|it| it.password_secret_ref.as_ref())),
            ("REDIS_PASSWORD", spec.redis.cluster.as_ref().and_then(|it| it.password_secret_ref.as_ref())),
            ("REDIS_SENTINEL_PASSWORD", sentinel.and_then(|it| it.sentinel_password_secret_ref.as_ref())),
        ] {
            if let Some(reference) = reference {
                from_secret(variable, &reference.name, &reference.key);
            }
        }
    }
    if needs.kafka {
        if let Some(ca) = spec.kafka.tls.as_ref().and_then(|tls| tls.ca_secret_ref.as_ref()) {
            from_secret("KAFKA_TLS_CA", &ca.name, &ca.key);
        }
        if let Some(sasl) = &spec.kafka.sasl {
            from_secret("KAFKA_SASL_USER", &sasl.secret_ref.name, kafka::USER);
            from_secret("KAFKA_SASL_PASSWORD", &sasl.secret_ref.name, kafka::PASSWORD);
        }
    }
    if needs.payment_provider {
        let reference = &spec.payment_provider.secret_ref;
        from_secret("PAYMENT_PROVIDER_SECRET", &reference.name, &reference.key);
    }
    if matches!(component, Component::Order | Component::Payment | Component::Delivery) {
        from_secret("INTERNAL_TOKEN", &names::internal_token(&shop.name), names::INTERNAL_TOKEN);
    }
    match component {
        Component::Order => {
            from_secret("OPERATOR_TOKEN", &names::operator_token(&shop.name), names::OPERATOR_TOKEN);
        }
        Component::Member => {
            if let Some(reference) = &spec.smtp.url_secret_ref {
                from_secret("SMTP_URL", &reference.name, &reference.key);
            }
            from_secret("ADMIN_EMAIL", &names::admin(&shop.name), names::ADMIN_EMAIL);
            from_secret("ADMIN_PASSWORD", &names::admin(&shop.name), names::ADMIN_PASSWORD);
            let file = format!("{SIGNING_KEY_FOLDER}/{}", names::SIGNING_KEY);
            env.insert("SIGNING_KEY_FILE".to_owned(), plain_variable("SIGNING_KEY_FILE", file));
        }
        _ => {}
    }
    if let Some(authority) = redis_ca(shop, component) {
        let file = format!("{REDIS_CA_FOLDER}/{}", authority.key);
        env.insert("REDIS_CA_FILE".to_owned(), plain_variable("REDIS_CA_FILE", file));
    }
    for variable in spec.components.get(&component).into_iter().flat_map(|own| &own.env) {
        env.insert(variable.name.clone(), variable.clone());
    }
    env.into_values().collect()
}

/// Who signed Redis' certificate, if the component talks to Redis and the shop names a CA.
pub(super) fn redis_ca(shop: &ValidatedShop, component: Component) -> Option<&SecretKeyReference> {
    shop.spec.redis.ca_secret_ref.as_ref().filter(|_| component.needs().redis)
}

/// Changes when something that these pods read at their start changes, and only then.
pub(super) fn checksum(
    shop: &ValidatedShop,
    component: Component,
    config: &ConfigMap,
    env: &[EnvVar],
    keys: &BTreeMap<String, Secret>,
) -> String {
    let mut digest = Sha256::new();
    for (name, value) in config.data.iter().flatten() {
        digest.update(format!("{name}={value}\n"));
    }
    for variable in env {
        let Some(reference) = variable.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref())
        else {
            continue;
        };
        digest.update(format!(
            "{}={}\n",
            variable.name,
            value_of_user(shop, &reference.name, &reference.key)
        ));
        digest.update(generated_value(keys, &reference.name, &reference.key));
    }
    if env.iter().any(|variable| variable.name == "SIGNING_KEY_FILE") {
        digest.update(generated_value(keys, &names::signing_key(&shop.name), names::SIGNING_KEY));
    }
    if let Some(authority) = redis_ca(shop, component) {
        digest.update(value_of_user(shop, &authority.name, &authority.key));
    }
    hex::encode(&digest.finalize()[..16])
}

/// Digest of a value in one of the user's Secrets.
fn value_of_user<'a>(shop: &'a ValidatedShop, secret: &str, key: &str) -> &'a str {
    let found = shop.secret_digests.get(&(secret.to_owned(), key.to_owned()));
    found.map_or("", String::as_str)
}

fn generated_value<'a>(keys: &'a BTreeMap<String, Secret>, secret: &str, key: &str) -> &'a [u8] {
    let data = keys.get(secret).and_then(|secret| secret.data.as_ref());
    data.and_then(|data| data.get(key)).map_or(&[], |value| &value.0)
}

fn secret_variable(variable: &str, secret: &str, key: &str) -> EnvVar {
    EnvVar {
        name: variable.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.to_owned(),
                key: key.to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    }
}

fn plain_variable(variable: &str, value: String) -> EnvVar {
    EnvVar { name: variable.to_owned(), value: Some(value), value_from: None }
}
