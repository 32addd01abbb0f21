//! The pods of a component, under the `restricted` Pod Security Standard.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, ConfigMap, ConfigMapEnvSource, Container, ContainerPort, EmptyDirVolumeSource,
            EnvFromSource, EnvVar, EnvVarSource, HTTPGetAction, KeyToPath, Lifecycle, LifecycleHandler,
            PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile,
            Secret, SecretKeySelector, SecretVolumeSource, SecurityContext, SleepAction,
            TopologySpreadConstraint, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::{ResourceExt, api::ObjectMeta};
use rocketmart_crds::{Component, shop::SecretKeyReference};
use sha2::{Digest, Sha256};

use super::{ADMIN_PORT, HTTP_PORT, component_child};
use crate::{
    OPERATOR,
    controllers::shop::{
        names, profile,
        validate::{Replicas, ValidatedShop},
    },
    kafka,
};

/// User and group of the processes; nobody's in particular, and not root.
const USER: i64 = 65_532;
/// Seconds a pod stays in the Services' endpoints of other nodes after it was told to end.
const ENDPOINT_DELAY: i64 = 3;
/// Seconds for everything under way: the delay above, requests, one batch.
const GRACE: i64 = 45;
/// Seconds after which a roll-out that makes no progress is reported.
const PROGRESS_DEADLINE: i32 = 120;
const CHECKSUM: &str = "rocketmart.dev/config-checksum";
const SIGNING_KEY_FOLDER: &str = "/etc/rocketmart/signing-key";
const REDIS_CA_FOLDER: &str = "/etc/rocketmart/redis-ca";

pub(super) fn build(
    shop: &ValidatedShop,
    component: Component,
    config: &ConfigMap,
    keys: &BTreeMap<String, Secret>,
    current: Option<&Deployment>,
) -> Deployment {
    let env = environment(shop, component);
    let checksum = checksum(shop, component, config, &env, keys);
    let mut labels = names::component_labels(&shop.name, component);
    labels.insert(names::VERSION.to_owned(), label_value(&shop.version()));
    Deployment {
        metadata: component_child(shop, component),
        spec: Some(DeploymentSpec {
            replicas: replicas(shop.replicas[&component], current),
            progress_deadline_seconds: Some(PROGRESS_DEADLINE),
            revision_history_limit: Some(3),
            selector: LabelSelector {
                match_labels: Some(names::selector(&shop.name, component)),
                ..LabelSelector::default()
            },
            // A new pod has to be ready before an old one goes.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: Some([(CHECKSUM.to_owned(), checksum)].into()),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(shop, component, env)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

/// The number of replicas, unless it is the autoscaler's.
///
/// A field that a manager stops applying, and that nobody else owns, falls back to its default, here
/// one replica. So after creation the number is repeated as it is until the autoscaler has written
/// another one, which takes the field over.
fn replicas(wanted: Replicas, current: Option<&Deployment>) -> Option<i32> {
    match (wanted, current) {
        (Replicas::Fixed(replicas), _) => Some(replicas),
        (Replicas::Autoscaled { from }, None) => Some(from),
        (Replicas::Autoscaled { from }, Some(current)) => owns_replicas(current).then(|| {
            let now = current.spec.as_ref().and_then(|spec| spec.replicas);
            now.unwrap_or(from).max(from)
        }),
    }
}

/// Whether this operator's Shop controller is recorded as the owner of `spec.replicas`.
fn owns_replicas(deployment: &Deployment) -> bool {
    deployment.managed_fields().iter().any(|entry| {
        entry.manager.as_deref() == Some(OPERATOR)
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
            && entry.fields_v1.as_ref().is_some_and(|fields| fields.0["f:spec"].get("f:replicas").is_some())
    })
}

fn pod(shop: &ValidatedShop, component: Component, env: Vec<EnvVar>) -> PodSpec {
    let own = shop.spec.components.get(&component);
    let mut volumes = vec![Volume {
        name: "tmp".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }];
    let mut mounts =
        vec![VolumeMount { name: "tmp".into(), mount_path: "/tmp".into(), ..VolumeMount::default() }];
    if component == Component::Member {
        let secret = names::signing_key(&shop.name);
        volumes.push(file_of_secret("signing-key", &secret, names::SIGNING_KEY));
        mounts.push(read_only("signing-key", SIGNING_KEY_FOLDER));
    }
    if let Some(authority) = redis_ca(shop, component) {
        volumes.push(file_of_secret("redis-ca", &authority.name, &authority.key));
        mounts.push(read_only("redis-ca", REDIS_CA_FOLDER));
    }
    PodSpec {
        service_account_name: Some(shop.name.clone()),
        // No component talks to the API server.
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".into(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        image_pull_secrets: none_if_empty(shop.spec.image_pull_secrets.clone()),
        containers: vec![container(shop, component, env, mounts)],
        volumes: Some(volumes),
        node_selector: own.map(|own| own.node_selector.clone()).filter(|selector| !selector.is_empty()),
        tolerations: own.and_then(|own| none_if_empty(own.tolerations.clone())),
        affinity: own.and_then(|own| own.affinity.clone()),
        topology_spread_constraints: Some(
            ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
                .map(|key| TopologySpreadConstraint {
                    max_skew: 1,
                    topology_key: key.to_owned(),
                    when_unsatisfiable: "ScheduleAnyway".to_owned(),
                    label_selector: Some(LabelSelector {
                        match_labels: Some(names::selector(&shop.name, component)),
                        ..LabelSelector::default()
                    }),
                    ..TopologySpreadConstraint::default()
                })
                .into(),
        ),
        ..PodSpec::default()
    }
}

fn container(
    shop: &ValidatedShop,
    component: Component,
    env: Vec<EnvVar>,
    mounts: Vec<VolumeMount>,
) -> Container {
    let port = |name: &str, port| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    let mut ports = vec![port("admin", ADMIN_PORT)];
    if profile::of(component).serves_http() {
        ports.insert(0, port("http", HTTP_PORT));
    }
    let own = shop.spec.components.get(&component);
    Container {
        name: component.to_string(),
        image: Some(shop.image.clone()),
        image_pull_policy: Some(shop.spec.image_pull_policy.as_str().to_owned()),
        args: Some(vec![component.to_string()]),
        ports: Some(ports),
        env_from: Some(vec![EnvFromSource {
            config_map_ref: Some(ConfigMapEnvSource {
                name: names::of_component(&shop.name, component),
                ..ConfigMapEnvSource::default()
            }),
            ..EnvFromSource::default()
        }]),
        env: none_if_empty(env),
        resources: Some(own.and_then(|own| own.resources.clone()).unwrap_or_else(default_resources)),
        // The first start of a component waits for its stores and migrates its schema.
        startup_probe: Some(probe("/livez", 2, 60)),
        liveness_probe: Some(probe("/livez", 10, 3)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: ENDPOINT_DELAY }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

/// Variables that come from Secrets, then those of the user; a name of the user's wins.
fn environment(shop: &ValidatedShop, component: Component) -> Vec<EnvVar> {
    let (profile, spec) = (profile::of(component), &shop.spec);
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
    if profile.redis {
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
    if profile.kafka {
        if let Some(ca) = spec.kafka.tls.as_ref().and_then(|tls| tls.ca_secret_ref.as_ref()) {
            from_secret("KAFKA_TLS_CA", &ca.name, &ca.key);
        }
        if let Some(sasl) = &spec.kafka.sasl {
            from_secret("KAFKA_SASL_USER", &sasl.secret_ref.name, kafka::USER);
            from_secret("KAFKA_SASL_PASSWORD", &sasl.secret_ref.name, kafka::PASSWORD);
        }
    }
    if profile.payment_provider {
        let reference = &spec.payment_provider.secret_ref;
        from_secret("PAYMENT_PROVIDER_SECRET", &reference.name, &reference.key);
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

/// Who signed the certificate of Redis, if the component speaks with it and the shop says so.
fn redis_ca(shop: &ValidatedShop, component: Component) -> Option<&SecretKeyReference> {
    shop.spec.redis.ca_secret_ref.as_ref().filter(|_| profile::of(component).redis)
}

/// Changes when, and only when, something changes that these pods read at their start.
fn checksum(
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

/// Digest of a value in a Secret of the user's.
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

/// One key of a Secret as a file of that name.
fn file_of_secret(volume: &str, secret: &str, key: &str) -> Volume {
    Volume {
        name: volume.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            default_mode: Some(0o440),
            items: Some(vec![KeyToPath { key: key.to_owned(), path: key.to_owned(), mode: None }]),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn read_only(volume: &str, folder: &str) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: folder.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("admin".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn default_resources() -> ResourceRequirements {
    let quantities = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned()))).collect()
    };
    ResourceRequirements {
        requests: Some(quantities(&[("cpu", "20m"), ("memory", "64Mi")])),
        limits: Some(quantities(&[("memory", "512Mi")])),
        claims: None,
    }
}

fn none_if_empty<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

/// A label's value has at most 63 characters of a small alphabet; a tag may have more.
fn label_value(text: &str) -> String {
    let short: String = text.chars().take(63).collect();
    short.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
    use serde_json::json;

    use super::*;

    fn deployment(manager: &str, replicas: i32) -> Deployment {
        Deployment {
            metadata: ObjectMeta {
                managed_fields: Some(vec![ManagedFieldsEntry {
                    manager: Some(manager.to_owned()),
                    fields_v1: Some(FieldsV1(json!({ "f:spec": { "f:replicas": {} } }))),
                    ..ManagedFieldsEntry::default()
                }]),
                ..ObjectMeta::default()
            },
            spec: Some(DeploymentSpec { replicas: Some(replicas), ..DeploymentSpec::default() }),
            ..Deployment::default()
        }
    }

    #[test]
    fn a_fixed_number_is_applied_whatever_runs() {
        assert_eq!(replicas(Replicas::Fixed(3), None), Some(3));
        assert_eq!(replicas(Replicas::Fixed(3), Some(&deployment("kubectl", 7))), Some(3));
    }

    #[test]
    fn an_autoscaled_component_starts_at_its_minimum() {
        assert_eq!(replicas(Replicas::Autoscaled { from: 2 }, None), Some(2));
    }

    #[test]
    fn the_number_stays_as_it_is_until_the_autoscaler_takes_it_over() {
        assert_eq!(replicas(Replicas::Autoscaled { from: 1 }, Some(&deployment(OPERATOR, 7))), Some(7));
        assert_eq!(replicas(Replicas::Autoscaled { from: 2 }, Some(&deployment(OPERATOR, 0))), Some(2));
    }

    #[test]
    fn the_autoscalers_number_is_not_touched() {
        assert_eq!(
            replicas(Replicas::Autoscaled { from: 1 }, Some(&deployment("rocketmart-autoscaler", 7))),
            None
        );
    }
}
