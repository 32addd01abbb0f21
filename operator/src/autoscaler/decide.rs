//! How many replicas a worker should have. This is a pure function of the observations and the
//! configuration.
//!
//! ```text
//! lag, rates → wish → partitions → fallback? → stabilization → policies → sale's floor → min, max → pause
//! ```
//!
//! Each stage that changes the number names itself, so the status can say why.

mod memory;
mod pause;

use rocketmart_crds::shop::{Autoscaling, FallbackBehavior, PolicyType, ScalingPolicy, ScalingRules};

pub use memory::{Look, Memory};
pub use pause::Pause;

use super::lag::Partition;

/// Used when neither a threshold nor a drain time is set. It is KEDA's default.
const DEFAULT_LAG_THRESHOLD: i64 = 10;
/// How long shrinking waits unless configured otherwise, so that a pause between bursts costs nothing.
const DEFAULT_DOWN_WINDOW_SECONDS: i64 = 60;

/// The current situation, apart from the group's lag.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    pub now_ms: i64,
    /// Replicas that the Deployment asks for.
    pub current: i32,
    /// While a sale is under way the shop does not go below this many replicas.
    pub floor: i32,
    /// A sale is loading, open or draining: nothing shrinks.
    pub sale_under_way: bool,
    /// What a person asked for in the Deployment's annotations.
    pub pause: Pause,
}

/// The outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub replicas: i32,
    pub reason: String,
    pub limited_by: Option<&'static str>,
    pub lag: Option<i64>,
    pub partitions: Option<i32>,
    pub arrivals_per_second: Option<i64>,
    pub rate_per_replica: Option<i64>,
}

#[expect(clippy::cast_precision_loss, reason = "offsets and milliseconds are far below 2^52")]
fn to_f64(number: i64) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to the range of the target")]
fn to_replicas(number: f64) -> i32 {
    number.clamp(0.0, f64::from(i32::MAX)) as i32
}

/// Decides, and remembers the decision.
pub fn decide(memory: &mut Memory, config: &Autoscaling, situation: Situation) -> Decision {
    let now = situation.now_ms;
    let mut decision = wish(memory, config, situation);
    memory.wished(now, decision.replicas);
    memory.sized(now, situation.current);

    stabilize(memory, config, situation, &mut decision);
    obey_policies(memory, config, situation, &mut decision);
    // A group without members has no partitions to share out.
    if memory.is_settling() && situation.current > 0 && decision.replicas > situation.current {
        decision.at_most(situation.current, "Rebalancing");
    }
    if situation.sale_under_way {
        decision.at_least(situation.current.min(config.max_replica_count), "SaleFloor");
    }
    decision.at_least(config.min_replica_count, "Minimum");
    decision.at_most(config.max_replica_count, "Maximum");
    decision.at_least(situation.floor, "SaleFloor");
    hold(situation, &mut decision);
    decision
}

/// What a person asked for overrides everything else.
fn hold(situation: Situation, decision: &mut Decision) {
    let Pause { replicas, scale_in, scale_out } = situation.pause;
    if scale_in || replicas.is_some() {
        decision.at_least(replicas.unwrap_or(situation.current), "Paused");
    }
    if scale_out || replicas.is_some() {
        decision.at_most(replicas.unwrap_or(situation.current), "Paused");
    }
}

impl Decision {
    fn at_least(&mut self, replicas: i32, stage: &'static str) {
        if self.replicas < replicas {
            (self.replicas, self.limited_by) = (replicas, Some(stage));
        }
    }

    fn at_most(&mut self, replicas: i32, stage: &'static str) {
        if self.replicas > replicas {
            (self.replicas, self.limited_by) = (replicas, Some(stage));
        }
    }
}

/// The number that the lag alone calls for.
fn wish(memory: &mut Memory, config: &Autoscaling, situation: Situation) -> Decision {
    let Some(look) = memory.looks.back().filter(|_| memory.failures == 0) else {
        return without_kafka(memory, config, situation);
    };
    let all: i64 = look.partitions.iter().map(Partition::lag).sum();
    let counted: Vec<i64> = look
        .partitions
        .iter()
        .filter(|partition| !(config.exclude_persistent_lag && memory.is_stuck(partition, situation.now_ms)))
        .map(Partition::lag)
        .collect();
    let lag: i64 = counted.iter().sum();
    let partitions = i32::try_from(look.partitions.len()).unwrap_or(i32::MAX);
    let with_lag = i32::try_from(counted.iter().filter(|lag| **lag > 0).count()).unwrap_or(i32::MAX);
    let arrivals = memory.arrivals_per_second();
    let (replicas, mut reason) = for_lag(lag, arrivals, memory.rate_per_replica, config, situation.current);
    if lag < all {
        reason = format!("{reason}; {} more do not move", all - lag);
    }
    let mut decision = Decision {
        replicas,
        reason,
        limited_by: None,
        lag: Some(all),
        partitions: Some(partitions),
        arrivals_per_second: Some(i64::from(to_replicas(arrivals))),
        rate_per_replica: memory.rate_per_replica.map(|rate| i64::from(to_replicas(rate))),
    };
    if config.limit_to_partitions_with_lag {
        decision.at_most(with_lag, "Partitions");
    }
    if !config.allow_idle_consumers {
        decision.at_most(partitions, "Partitions");
    }
    if config.ensure_even_distribution_of_partitions && decision.replicas > 0 {
        let even = (decision.replicas..=partitions).find(|replicas| partitions % replicas == 0);
        decision.at_least(even.unwrap_or(partitions), "Partitions");
    }
    start_or_stop(memory, config, situation, all, &mut decision);
    decision
}

fn for_lag(lag: i64, arrivals: f64, rate: Option<f64>, config: &Autoscaling, current: i32) -> (i32, String) {
    if let Some(seconds) = config.target_drain_seconds {
        let target = to_f64(seconds);
        return match rate {
            _ if lag == 0 && arrivals == 0.0 => (0, "nothing to do".to_owned()),
            Some(rate) if rate > 0.0 => {
                let replicas = to_replicas(((arrivals * target + to_f64(lag)) / (rate * target)).ceil());
                (
                    replicas,
                    format!("a lag of {lag} and {arrivals:.0} arrivals/s in {seconds} s at {rate:.0}/s each"),
                )
            }
            _ => (current.max(1), format!("a lag of {lag}; the rate of a replica is not known yet")),
        };
    }
    let threshold = config.lag_threshold.unwrap_or(DEFAULT_LAG_THRESHOLD).max(1);
    let replicas = i32::try_from((lag + threshold - 1) / threshold).unwrap_or(i32::MAX);
    (replicas, format!("a lag of {lag} at {threshold} per replica"))
}

/// Scales between zero and one. Only a lag above the activation threshold starts the first replica, and the
/// last one goes only after the cool-down. All lag counts here, stuck partitions included: they stand still
/// because nobody is running.
fn start_or_stop(
    memory: &mut Memory,
    config: &Autoscaling,
    situation: Situation,
    lag: i64,
    decision: &mut Decision,
) {
    let now = situation.now_ms;
    let active = lag > config.activation_lag_threshold;
    if active {
        memory.active_ms = Some(now);
        decision.at_least(1, "Minimum");
    } else if situation.current == 0 {
        decision.at_most(0, "Activation");
    } else {
        let since_active = memory.active_ms.map_or(i64::MAX, |at| now - at);
        let since_start = memory.started_ms.map_or(0, |at| now - at);
        let cooling = since_active < config.cooldown_seconds * 1_000;
        if cooling || since_start < config.initial_cooldown_seconds * 1_000 {
            decision.at_least(1, "Cooldown");
        }
    }
}

/// Kafka does not answer. The replicas stay as they are, or the fallback applies. Silence is never a reason
/// to shrink.
fn without_kafka(memory: &Memory, config: &Autoscaling, situation: Situation) -> Decision {
    let current = situation.current;
    let applies = config.fallback.filter(|fallback| memory.failures >= fallback.failure_threshold);
    let replicas = applies.map_or(current, |fallback| match fallback.behavior {
        FallbackBehavior::Static => fallback.replicas,
        FallbackBehavior::CurrentReplicas => current,
        FallbackBehavior::CurrentReplicasIfHigher => current.max(fallback.replicas),
        FallbackBehavior::CurrentReplicasIfLower => current.min(fallback.replicas),
    });
    Decision {
        replicas,
        reason: format!("Kafka could not be asked {} times", memory.failures),
        limited_by: Some("Fallback"),
        lag: None,
        partitions: None,
        arrivals_per_second: None,
        rate_per_replica: None,
    }
}

/// Growing uses the lowest wish within its window, shrinking the highest within its own.
fn stabilize(memory: &Memory, config: &Autoscaling, situation: Situation, decision: &mut Decision) {
    let within = |seconds: i64| {
        let from = situation.now_ms - seconds * 1_000;
        memory.wishes.iter().filter(move |(at, _)| *at >= from).map(|(_, wish)| *wish)
    };
    let window = |rules: &ScalingRules, default: i64| rules.stabilization_window_seconds.unwrap_or(default);
    if decision.replicas > situation.current {
        let lowest = within(window(&config.behavior.scale_up, 0)).min().unwrap_or(decision.replicas);
        decision.at_most(lowest.max(situation.current), "Stabilization");
    } else if decision.replicas < situation.current {
        let seconds = window(&config.behavior.scale_down, DEFAULT_DOWN_WINDOW_SECONDS);
        let seen_all = memory.started_ms.is_some_and(|at| situation.now_ms - at >= seconds * 1_000);
        let highest = if seen_all { within(seconds).max() } else { None };
        decision.at_least(highest.unwrap_or(situation.current).min(situation.current), "Stabilization");
    }
}

/// Limits the change per period. When there are several policies, the most permissive one wins.
fn obey_policies(memory: &Memory, config: &Autoscaling, situation: Situation, decision: &mut Decision) {
    let current = situation.current;
    let size_before = |policy: &ScalingPolicy| {
        let from = situation.now_ms - policy.period_seconds * 1_000;
        memory
            .sizes
            .iter()
            .rev()
            .find(|(at, _)| *at <= from)
            .or(memory.sizes.front())
            .map_or(current, |(_, size)| *size)
    };
    let step = |policy: &ScalingPolicy| match policy.kind {
        PolicyType::Pods => policy.value,
        PolicyType::Percent => {
            to_replicas((f64::from(size_before(policy)) * f64::from(policy.value) / 100.0).ceil())
        }
    };
    if decision.replicas > current {
        let allowed =
            config.behavior.scale_up.policies.iter().map(|policy| size_before(policy) + step(policy)).max();
        decision.at_most(allowed.unwrap_or(i32::MAX).max(current), "Policy");
    } else if decision.replicas < current {
        let allowed =
            config.behavior.scale_down.policies.iter().map(|policy| size_before(policy) - step(policy)).min();
        decision.at_least(allowed.unwrap_or(0).min(current), "Policy");
    }
}

#[cfg(test)]
mod tests;
