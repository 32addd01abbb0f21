//! One pod of a component at a time may be evicted. A minimum would block the drain of a node when a
//! component has a single replica; a maximum does not.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use rocketmart_crds::Component;

use super::component_child;
use crate::controllers::shop::{names, validated_shop::ValidatedShop};

pub(super) fn build(shop: &ValidatedShop, component: Component) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: component_child(shop, component),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            // A pod that is not ready protects nothing.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            selector: Some(LabelSelector {
                match_labels: Some(names::selector(&shop.name, component)),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
