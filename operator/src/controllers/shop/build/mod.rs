//! Step 4: compute all children of a shop as values. Nothing here talks to anybody, so snapshots can show
//! what a shop consists of.

mod config_map;
mod deployment;
mod environment;
#[cfg(test)]
pub(in crate::controllers::shop) mod fixture;
mod http_route;
mod ingress;
mod network_policy;
mod pod;
mod pod_disruption_budget;
mod service;
mod service_account;
mod topics;

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use kube::{ResourceExt, api::ObjectMeta};
use rocketmart_crds::Component;
use serde::Serialize;

use super::{facts::Live, names, validated_shop::ValidatedShop};
use crate::{gateway_api::HttpRoute, kafka::Topic};

/// The children of a shop as they should be.
#[derive(Clone, Debug, Serialize)]
pub struct Children {
    pub service_account: ServiceAccount,
    pub config_maps: Vec<ConfigMap>,
    pub network_policies: Vec<NetworkPolicy>,
    pub services: Vec<Service>,
    pub topics: Vec<Topic>,
    pub deployments: Vec<Deployment>,
    pub pod_disruption_budgets: Vec<PodDisruptionBudget>,
    /// A shop has one entrance: either this kind or the other.
    pub http_routes: Vec<HttpRoute>,
    pub ingresses: Vec<Ingress>,
}

/// `keys` are the generated Secrets, by name. `live` decides one thing only: whether the autoscaler has
/// already taken over the number of replicas of an autoscaled component.
pub fn build(shop: &ValidatedShop, keys: &BTreeMap<String, Secret>, live: &Live) -> Children {
    let config_maps: BTreeMap<Component, ConfigMap> =
        Component::ALL.map(|component| (component, config_map::build(shop, component))).into();
    let deployments = Component::ALL
        .into_iter()
        .map(|component| {
            let name = names::of_component(&shop.name, component);
            let current = live.deployments.iter().find(|deployment| deployment.name_any() == name);
            deployment::build(shop, component, &config_maps[&component], keys, current)
        })
        .collect();
    let serving = || Component::ALL.into_iter().filter(|component| component.serves_http());
    let gateway = shop.spec.gateway.as_ref();
    Children {
        service_account: service_account::build(shop),
        network_policies: network_policy::build(shop).into(),
        services: serving().map(|component| service::build(shop, component)).collect(),
        topics: topics::build(shop),
        deployments,
        pod_disruption_budgets: Component::ALL
            .map(|component| pod_disruption_budget::build(shop, component))
            .into(),
        http_routes: gateway.map(|gateway| http_route::build(shop, gateway)).into_iter().collect(),
        ingresses: gateway.is_none().then(|| ingress::build(shop)).into_iter().collect(),
        config_maps: config_maps.into_values().collect(),
    }
}

/// Metadata of a child that belongs to the shop as a whole.
fn shop_child(shop: &ValidatedShop, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(shop.namespace.clone()),
        labels: Some(names::shop_labels(&shop.name)),
        owner_references: Some(vec![shop.owner.clone()]),
        ..ObjectMeta::default()
    }
}

/// Metadata of a child that belongs to one component.
fn component_child(shop: &ValidatedShop, component: Component) -> ObjectMeta {
    ObjectMeta {
        labels: Some(names::component_labels(&shop.name, component)),
        ..shop_child(shop, names::of_component(&shop.name, component))
    }
}

#[cfg(test)]
mod tests;
