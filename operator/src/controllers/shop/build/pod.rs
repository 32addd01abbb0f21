//! A pod of a component, under the `restricted` Pod Security Standard.

use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapEnvSource, Container, ContainerPort, EmptyDirVolumeSource, EnvFromSource,
        EnvVar, HTTPGetAction, KeyToPath, Lifecycle, LifecycleHandler, PodSecurityContext, PodSpec, Probe,
        ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, SleepAction,
        TopologySpreadConstraint, Volume, VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use rocketmart_crds::Component;

use super::environment::{REDIS_CA_FOLDER, SIGNING_KEY_FOLDER, redis_ca};
use crate::controllers::shop::{
    names,
    ports::{ADMIN_PORT, HTTP_PORT},
    validated_shop::ValidatedShop,
};

/// User and group of the processes; they belong to nobody in particular, and are not root.
const USER: i64 = 65_532;
/// Seconds for which a pod stays in other nodes' Service endpoints after it was told to end.
const ENDPOINT_DELAY: i64 = 3;
/// Seconds for finishing everything under way: the delay above, requests, one batch.
const GRACE: i64 = 45;

pub(super) fn pod(shop: &ValidatedShop, component: Component, env: Vec<EnvVar>) -> PodSpec {
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
    if component.serves_http() {
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
        // On its first start a component waits for its stores and migrates its schema.
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

/// One key of a Secret, as a file of the same name.
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
