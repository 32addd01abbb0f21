//! What the first step finds out and the later steps rely on.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use rocketmart_crds::{FlashSale, ShopSpec};

use super::readiness::Reasons;
use crate::{gateway_api::HttpRoute, kafka};

/// What is known besides the spec.
pub(super) struct Facts {
    /// The Secrets that the spec names; `None` for a Secret that does not exist.
    pub(super) secrets: BTreeMap<String, Option<Secret>>,
    /// The generated Secrets that exist so far.
    pub(super) keys: BTreeMap<String, Secret>,
    pub(super) live: Live,
    /// The user's own autoscalers in the namespace.
    pub(super) autoscalers: Vec<HorizontalPodAutoscaler>,
    /// The shop's sales that now raise a floor of replicas.
    pub(super) sales: Vec<FlashSale>,
    /// The shop's topics and their partitions.
    pub(super) topics: Result<BTreeMap<String, i32>, kafka::Error>,
    /// The shop's pods, if one of its Deployments is not ready: they tell why.
    pub(super) pods: Vec<Pod>,
    /// What the running pods that are not ready say.
    pub(super) unready: Reasons,
}

/// The children of a shop as they are.
#[derive(Default)]
pub struct Live {
    pub(super) config_maps: Vec<ConfigMap>,
    pub(super) deployments: Vec<Deployment>,
    /// `None` where the cluster has no such kind.
    pub(super) http_routes: Option<Vec<HttpRoute>>,
    pub(super) ingresses: Vec<Ingress>,
    pub(super) network_policies: Vec<NetworkPolicy>,
    pub(super) pod_disruption_budgets: Vec<PodDisruptionBudget>,
    pub(super) service_accounts: Vec<ServiceAccount>,
    pub(super) services: Vec<Service>,
}

/// How to reach the shop's Kafka, if the Secrets hold every value for it.
pub(super) fn kafka_access(
    spec: &ShopSpec,
    secrets: &BTreeMap<String, Option<Secret>>,
) -> Option<kafka::Access> {
    kafka::Access::of(&spec.kafka, |name| secrets.get(name)?.as_ref())
}
