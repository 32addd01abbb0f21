//! How many replicas a worker should have: a pure function of what was observed and the configuration.
//!
//! ```text
//! lag, rates → wish → partitions → fallback? → stabilization → policies → sale's floor → min, max → pause
//! ```
//!
//! Each stage that changes the number names itself, so that the status can say why.

use std::collections::{BTreeMap, HashMap, VecDeque};

use rocketmart_crds::shop::{Autoscaling, FallbackBehavior, PolicyType, ScalingPolicy, ScalingRules};

use super::lag::Partition;

/// Without a threshold and without a drain time, KEDA's default.
const DEFAULT_LAG_THRESHOLD: i64 = 10;
/// Shrinking waits this long unless told otherwise, so that a pause between bursts costs nothing.
const DEFAULT_DOWN_WINDOW_SECONDS: i64 = 60;
/// Rates are measured over this time.
const RATE_WINDOW_MS: i64 = 10_000;
/// A partition whose offset stood still this long although it has lag is stuck.
const STUCK_MS: i64 = 10_000;
const REMEMBERED_MS: i64 = 3_600_000;
/// A group that has changed its size handles nothing while its partitions are shared out anew. It is given
/// this long to go on before it grows again.
const SETTLING_MS: i64 = 15_000;

/// One look at the group.
#[derive(Clone, Debug)]
pub struct Look {
    pub at_ms: i64,
    pub partitions: Vec<Partition>,
    /// Replicas that were ready then.
    pub ready: i32,
}

/// What is remembered between decisions. A new process starts with nothing and so shrinks nothing until
/// it has seen a whole window.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    looks: VecDeque<Look>,
    /// Looks that failed, in a row.
    failures: i32,
    started_ms: Option<i64>,
    /// When there was something to do last.
    active_ms: Option<i64>,
    wishes: VecDeque<(i64, i32)>,
    /// Replicas that ran, whenever they changed.
    sizes: VecDeque<(i64, i32)>,
    /// Since when each partition's offset has stood still.
    still_since: HashMap<(String, i32), (i64, i64)>,
    rate_per_replica: Option<f64>,
    settling: Option<Settling>,
}

/// A group that has changed its size and has not been seen going on since.
#[derive(Clone, Copy, Debug)]
struct Settling {
    since_ms: i64,
    size: i32,
    /// What it had handled when all of it was ready.
    handled: Option<i64>,
}

/// What holds now, besides the group.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    pub now_ms: i64,
    /// Replicas the Deployment asks for.
    pub current: i32,
    /// Replicas below which a sale under way does not let the shop go.
    pub floor: i32,
    /// A sale is loading, open or draining: nothing shrinks.
    pub sale_under_way: bool,
    /// What a person asked for in the Deployment's annotations.
    pub pause: Pause,
}

/// Autoscaling held by a person, in KEDA's words: annotations of the Deployment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pause {
    /// Exactly this many, whatever the lag.
    pub replicas: Option<i32>,
    /// No fewer than there are.
    pub scale_in: bool,
    /// No more than there are.
    pub scale_out: bool,
}

/// Prefix of the annotations.
const ANNOTATION: &str = "autoscaling.rocketmart.dev/";

impl Pause {
    /// `paused`, `paused-replicas`, `paused-scale-in` and `paused-scale-out`, each behind the prefix
    /// `autoscaling.rocketmart.dev/`. What cannot be read holds nothing.
    pub fn of(annotations: &BTreeMap<String, String>) -> Self {
        let value = |name: &str| annotations.get(&format!("{ANNOTATION}{name}")).map(String::as_str);
        let is_set = |name: &str| value(name) == Some("true");
        let replicas = value("paused-replicas").and_then(|number| number.parse().ok());
        Self {
            replicas: replicas.filter(|number| *number >= 0),
            scale_in: is_set("paused") || is_set("paused-scale-in"),
            scale_out: is_set("paused") || is_set("paused-scale-out"),
        }
    }
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

impl Memory {
    /// Takes in a look, or that Kafka could not be asked.
    pub fn remember(&mut self, now_ms: i64, look: Option<Look>) {
        self.started_ms.get_or_insert(now_ms);
        let Some(look) = look else {
            self.failures = self.failures.saturating_add(1);
            return;
        };
        self.failures = 0;
        for partition in &look.partitions {
            let (Some(committed), key) = (partition.committed, (partition.topic.clone(), partition.number))
            else {
                continue;
            };
            let still = self.still_since.entry(key).or_insert((committed, look.at_ms));
            if still.0 != committed {
                *still = (committed, look.at_ms);
            }
        }
        self.measure_rate(&look);
        self.settle(&look);
        self.looks.push_back(look);
        while self.looks.len() > 2 && self.looks[1].at_ms <= now_ms - RATE_WINDOW_MS {
            self.looks.pop_front();
        }
    }

    /// What one replica handles per second, while there was always something to handle.
    fn measure_rate(&mut self, look: &Look) {
        let Some(before) = self.looks.back() else { return };
        let handled = committed(look) - committed(before);
        let seconds = to_f64(look.at_ms - before.at_ms) / 1_000.0;
        let busy =
            look.partitions.iter().any(|partition| partition.committed.is_some_and(|at| at < partition.high));
        if handled > 0 && busy && look.ready > 0 && seconds > 0.0 {
            let rate = to_f64(handled) / seconds / f64::from(look.ready);
            self.rate_per_replica = Some(self.rate_per_replica.map_or(rate, |old| old * 0.7 + rate * 0.3));
        }
    }

    /// A group has settled once it is ready in its new size and handles something again.
    fn settle(&mut self, look: &Look) {
        let Some(settling) = &mut self.settling else { return };
        match settling.handled {
            None if look.ready >= settling.size => settling.handled = Some(committed(look)),
            Some(handled) if committed(look) > handled => self.settling = None,
            _ => {}
        }
    }

    /// Notes how many replicas run.
    fn sized(&mut self, now_ms: i64, size: i32) {
        let before = self.sizes.back().map(|(_, before)| *before);
        if before != Some(size) {
            self.sizes.push_back((now_ms, size));
            self.settling = before.map(|_| Settling { since_ms: now_ms, size, handled: None });
        }
        self.sizes.retain(|(at, _)| *at > now_ms - REMEMBERED_MS);
        self.settling = self.settling.filter(|settling| now_ms - settling.since_ms < SETTLING_MS);
    }

    fn arrivals_per_second(&self) -> f64 {
        let (Some(first), Some(last)) = (self.looks.front(), self.looks.back()) else { return 0.0 };
        let seconds = to_f64(last.at_ms - first.at_ms) / 1_000.0;
        if seconds <= 0.0 {
            return 0.0;
        }
        let end = |look: &Look| look.partitions.iter().map(|partition| partition.high).sum::<i64>();
        to_f64((end(last) - end(first)).max(0)) / seconds
    }

    fn is_stuck(&self, partition: &Partition, now_ms: i64) -> bool {
        self.still_since
            .get(&(partition.topic.clone(), partition.number))
            .is_some_and(|(_, since)| now_ms - since >= STUCK_MS)
    }
}

fn committed(look: &Look) -> i64 {
    look.partitions.iter().filter_map(|partition| partition.committed).sum()
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
    memory.wishes.push_back((now, decision.replicas));
    memory.wishes.retain(|(at, _)| *at > now - REMEMBERED_MS);
    memory.sized(now, situation.current);

    stabilize(memory, config, situation, &mut decision);
    obey_policies(memory, config, situation, &mut decision);
    if memory.settling.is_some() && decision.replicas > situation.current {
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

/// A person's word counts more than everything else.
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

/// The number that the lag alone asks for.
fn wish(memory: &mut Memory, config: &Autoscaling, situation: Situation) -> Decision {
    let Some(look) = memory.looks.back().filter(|_| memory.failures == 0) else {
        return without_kafka(memory, config, situation);
    };
    let counted: Vec<i64> = look
        .partitions
        .iter()
        .filter(|partition| !(config.exclude_persistent_lag && memory.is_stuck(partition, situation.now_ms)))
        .map(|partition| partition.lag(config))
        .collect();
    let lag: i64 = counted.iter().sum();
    let partitions = i32::try_from(look.partitions.len()).unwrap_or(i32::MAX);
    let with_lag = i32::try_from(counted.iter().filter(|lag| **lag > 0).count()).unwrap_or(i32::MAX);
    let arrivals = memory.arrivals_per_second();
    let (replicas, reason) = for_lag(lag, arrivals, memory.rate_per_replica, config, situation.current);
    let mut decision = Decision {
        replicas,
        reason,
        limited_by: None,
        lag: Some(lag),
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
    start_or_stop(memory, config, situation, lag, &mut decision);
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

/// Between none and one: only a lag above the activation threshold starts the first replica, and the
/// last goes only after the cool-down.
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

/// Kafka cannot be asked: the replicas stay, or the fallback applies. Never fewer because of silence.
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

/// Growing takes the lowest wish of its window, shrinking the highest of its own.
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

/// How much may change in each period; of several policies the one that allows most holds.
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
