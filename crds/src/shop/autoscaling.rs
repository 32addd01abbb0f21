//! Autoscaling on consumer lag, in KEDA's words where the meaning is the same.

#![allow(clippy::struct_excessive_bools, reason = "KEDA's switches, under KEDA's names")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Replicas of a worker by the lag of its Kafka consumer group.
#[derive(KubeSchema, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.minReplicaCount <= self.maxReplicaCount")
        .message("minReplicaCount has to be at most maxReplicaCount").field_path(".minReplicaCount"),
    validation = Rule::new("!(has(self.lagThreshold) && has(self.targetDrainSeconds))")
        .message("give either lagThreshold or targetDrainSeconds").field_path(".lagThreshold")
)]
pub struct Autoscaling {
    /// Never fewer replicas than this; 0 allows the component to stop while there is nothing to do.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub min_replica_count: i32,

    /// Never more replicas than this.
    #[serde(default = "max_replica_count")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_replica_count: i32,

    /// Messages of lag one replica is expected to carry: replicas = lag ÷ lagThreshold, rounded up.
    /// When neither this nor `targetDrainSeconds` is given, 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub lag_threshold: Option<i64>,

    /// Instead of a threshold: enough replicas to work off the lag, and what arrives meanwhile, within
    /// this many seconds, at the measured rate of one replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400))]
    pub target_drain_seconds: Option<i64>,

    /// From zero, the component starts only when the lag is greater than this.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub activation_lag_threshold: i64,

    /// Seconds between two looks at the lag.
    #[serde(default = "polling_interval_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub polling_interval_seconds: i64,

    /// Seconds without work before the last replica goes (only with `minReplicaCount: 0`).
    #[serde(default = "cooldown_seconds")]
    #[schemars(range(min = 0, max = 86_400))]
    pub cooldown_seconds: i64,

    /// Seconds after the start of autoscaling during which the last replica stays in any case.
    #[serde(default)]
    #[schemars(range(min = 0, max = 86_400))]
    pub initial_cooldown_seconds: i64,

    /// Without effect, for manifests written for KEDA: a partition without a committed offset counts from where the
    /// component begins to read it, which is the start of the log (`earliest`).
    #[serde(default)]
    pub offset_reset_policy: OffsetReset,

    /// Without effect, for manifests written for KEDA: a partition without a committed offset counts by the messages
    /// in it, like any other.
    #[serde(default)]
    pub scale_to_zero_on_invalid_offset: bool,

    /// Whether there may be more replicas than partitions.
    #[serde(default)]
    pub allow_idle_consumers: bool,

    /// Never more replicas than there are partitions with lag.
    #[serde(default)]
    pub limit_to_partitions_with_lag: bool,

    /// Does not count partitions whose committed offset stands still for ten seconds while they have lag and
    /// replicas are ready (a message that cannot be handled): more replicas would not help. The first replica is
    /// started, and the last kept, by all lag.
    #[serde(default)]
    pub exclude_persistent_lag: bool,

    /// Only numbers of replicas that divide the number of partitions.
    #[serde(default)]
    pub ensure_even_distribution_of_partitions: bool,

    /// The partitions whose lag counts, by number: `all`, or a list such as `1,2,10-20`.
    #[serde(default = "all_partitions")]
    #[schemars(
        length(max = 200),
        regex(pattern = r"^(all|[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*)$")
    )]
    pub partition_limitation: String,

    /// What to do while Kafka cannot be asked. When absent, the replicas stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,

    /// How fast replicas come and go.
    #[serde(default)]
    pub behavior: Behavior,
}

fn all_partitions() -> String {
    "all".to_owned()
}

const fn one() -> i32 {
    1
}

const fn max_replica_count() -> i32 {
    100
}

const fn polling_interval_seconds() -> i64 {
    1
}

const fn cooldown_seconds() -> i64 {
    300
}

/// What a partition without a committed offset counts as.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OffsetReset {
    Latest,
    #[default]
    Earliest,
}

/// Replicas while the lag is unknown.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// Failed looks in a row before the fallback applies.
    #[schemars(range(min = 1, max = 1000))]
    pub failure_threshold: i32,

    /// Replicas to run with meanwhile.
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,

    /// How `replicas` relates to those already running.
    #[serde(default)]
    pub behavior: FallbackBehavior,
}

/// How the replicas of a fallback relate to those already running.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FallbackBehavior {
    /// Exactly the given number.
    #[default]
    Static,
    /// As many as run now.
    CurrentReplicas,
    /// The larger of the given number and those that run now.
    CurrentReplicasIfHigher,
    /// The smaller of the given number and those that run now.
    CurrentReplicasIfLower,
}

/// How fast replicas come and go, in the words of the `HorizontalPodAutoscaler`.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Behavior {
    /// Growing. Without a window, at once.
    #[serde(default)]
    pub scale_up: ScalingRules,

    /// Shrinking. Without a window, the highest wish of the last 60 seconds holds.
    #[serde(default)]
    pub scale_down: ScalingRules,
}

/// Limits in one direction.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingRules {
    /// Seconds over which wishes are remembered, so that a short dip or peak changes nothing: growing
    /// takes the lowest wish of the window, shrinking the highest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_window_seconds: Option<i64>,

    /// How much may change in a period. With several, the one that allows most holds; with none,
    /// there is no limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub policies: Vec<ScalingPolicy>,
}

/// A limit of change per period.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingPolicy {
    /// Whether `value` counts pods or per cent of the replicas at the start of the period.
    #[serde(rename = "type")]
    pub kind: PolicyType,

    /// Largest change in one period.
    #[schemars(range(min = 1, max = 1000))]
    pub value: i32,

    /// Length of the period in seconds.
    #[schemars(range(min = 1, max = 1800))]
    pub period_seconds: i64,
}

/// What a limit of change counts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum PolicyType {
    Pods,
    Percent,
}
