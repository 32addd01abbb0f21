//! What the operator reports about a shop.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The observed state of a shop.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShopStatus {
    /// Generation of the spec that the operator has acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`: every component serves. `Progressing`: a change is being rolled out. `Degraded`:
    /// something stands in the way; the message names it. `RouteAccepted`, with `spec.gateway`: every
    /// Gateway has taken the route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Version (image tag) that every component runs; the old one until a roll-out is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// Components that serve, of all: `10/10`. One that is declared with no replicas, or whose Service could not be made,
    /// does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<String>,

    /// Each component with its replicas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub components: Vec<ComponentStatus>,
}

/// The observed state of one component.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// Name of the component.
    pub name: String,

    /// Replicas that should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<i32>,

    /// Replicas that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<i32>,

    /// The autoscaler's last decision, for a component with autoscaling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingStatus>,
}

/// A decision of the autoscaler and what it rests on.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalingStatus {
    /// Replicas decided on.
    pub replicas: i32,

    /// Why, in one sentence.
    pub reason: String,

    /// What kept the number from being higher or lower (`Maximum`, `Minimum`, `Partitions`,
    /// `Stabilization`, `Policy`, `Rebalancing`, `SaleFloor`, `Paused`, `Fallback`), if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<String>,

    /// Messages the consumer group was behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,

    /// Partitions of the topics the group reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,

    /// Messages that arrived per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals_per_second: Option<i64>,

    /// Messages one replica was measured to handle per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_replica: Option<i64>,

    /// When the number of replicas was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scale_time: Option<Time>,
}
