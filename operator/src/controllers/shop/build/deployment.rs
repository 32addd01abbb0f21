//! How many pods a component has, and how they are replaced.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{ConfigMap, PodTemplateSpec, Secret},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::{ResourceExt, api::ObjectMeta};
use rocketmart_crds::Component;

use super::{
    component_child,
    environment::{checksum, environment},
    pod::pod,
};
use crate::{
    OPERATOR,
    controllers::shop::{
        names,
        validated_shop::{Replicas, ValidatedShop},
    },
};

/// Seconds after which a roll-out that makes no progress is reported.
const PROGRESS_DEADLINE: i32 = 120;
const CHECKSUM: &str = "rocketmart.dev/config-checksum";

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
            replicas: replicas(&shop.replicas[&component], current),
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

/// The number of replicas, unless an autoscaler owns it.
///
/// When a manager stops applying a field that nobody else owns, the field falls back to its default, here
/// one replica. So after the creation we repeat the current number until the autoscaler has written another
/// one, which makes the field the autoscaler's.
fn replicas(wanted: &Replicas, current: Option<&Deployment>) -> Option<i32> {
    let now = |current: &Deployment| current.spec.as_ref().and_then(|spec| spec.replicas);
    match (wanted, current) {
        (Replicas::Fixed(replicas), _) => Some(*replicas),
        (Replicas::Autoscaled { from } | Replicas::OfUser { from, .. }, None) => Some(*from),
        (Replicas::Autoscaled { from }, Some(current)) => {
            owns_replicas(current).then(|| now(current).unwrap_or(*from).max(*from))
        }
        (Replicas::OfUser { from, .. }, Some(current)) if owns_replicas(current) => {
            Some(now(current).filter(|now| *now > 0).unwrap_or(*from))
        }
        (Replicas::OfUser { .. }, Some(_)) => None,
    }
}

/// Whether the managed fields record this operator's Shop controller as the owner of `spec.replicas`.
fn owns_replicas(deployment: &Deployment) -> bool {
    deployment.managed_fields().iter().any(|entry| {
        entry.manager.as_deref() == Some(OPERATOR)
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
            && entry.fields_v1.as_ref().is_some_and(|fields| fields.0["f:spec"].get("f:replicas").is_some())
    })
}

/// A label's value has at most 63 characters from a small alphabet; a tag may have more.
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
        assert_eq!(replicas(&Replicas::Fixed(3), None), Some(3));
        assert_eq!(replicas(&Replicas::Fixed(3), Some(&deployment("kubectl", 7))), Some(3));
    }

    #[test]
    fn an_autoscaled_component_starts_at_its_minimum() {
        assert_eq!(replicas(&Replicas::Autoscaled { from: 2 }, None), Some(2));
    }

    #[test]
    fn the_number_stays_as_it_is_until_the_autoscaler_takes_it_over() {
        assert_eq!(replicas(&Replicas::Autoscaled { from: 1 }, Some(&deployment(OPERATOR, 7))), Some(7));
        assert_eq!(replicas(&Replicas::Autoscaled { from: 2 }, Some(&deployment(OPERATOR, 0))), Some(2));
    }

    #[test]
    fn the_autoscalers_number_is_not_touched() {
        assert_eq!(
            replicas(&Replicas::Autoscaled { from: 1 }, Some(&deployment("rocketmart-autoscaler", 7))),
            None
        );
    }

    #[test]
    fn k6_the_number_of_a_users_autoscaler_is_not_touched() {
        let user = Replicas::OfUser { by: "mine".into(), from: 1 };
        assert_eq!(replicas(&user, Some(&deployment("kube-controller-manager", 7))), None);
        assert_eq!(replicas(&user, Some(&deployment(OPERATOR, 7))), Some(7), "until it takes it over");
        assert_eq!(
            replicas(&user, Some(&deployment(OPERATOR, 0))),
            Some(1),
            "it never leaves zero by itself"
        );
    }
}
