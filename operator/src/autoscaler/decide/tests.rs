//! KEDA's known problems, and what we add, each as a sequence of looks.

use serde_json::json;

use super::memory::STUCK_MS;
use super::pause::ANNOTATION;
use super::*;
use crate::autoscaler::lag::Partition;

fn config(extra: serde_json::Value) -> Autoscaling {
    serde_json::from_value(extra).unwrap()
}

/// A look at `lags.len()` partitions; each has handled `handled` messages.
fn look(at_ms: i64, lags: &[i64], handled: i64) -> Look {
    let partitions = lags
        .iter()
        .zip(0..)
        .map(|(lag, number)| Partition {
            topic: "t".into(),
            number,
            committed: Some(handled),
            low: 0,
            high: handled + lag,
            only_markers: false,
        })
        .collect();
    Look { at_ms, partitions, ready: 1 }
}

fn situation(now_ms: i64, current: i32) -> Situation {
    Situation { now_ms, current, floor: 0, sale_under_way: false, pause: Pause::default() }
}

fn decided(config: &Autoscaling, lags: &[i64], current: i32) -> Decision {
    let mut memory = Memory::default();
    memory.remember(0, Some(look(0, lags, 0)));
    decide(&mut memory, config, situation(0, current))
}

#[test]
fn replicas_are_lag_by_threshold_rounded_up() {
    let config = config(json!({"lagThreshold": 10}));
    assert_eq!(decided(&config, &[11, 0, 0], 1).replicas, 2);
    assert_eq!(decided(&config, &[10, 0, 0], 1).replicas, 1);
}

#[test]
fn a_group_never_has_more_replicas_than_partitions() {
    // KEDA: lag 109, threshold 10, 10 partitions → 11.
    let decision = decided(&config(json!({"lagThreshold": 10})), &[109, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1);
    assert_eq!((decision.replicas, decision.limited_by), (10, Some("Partitions")));
    let idle = config(json!({"lagThreshold": 10, "allowIdleConsumers": true}));
    assert_eq!(decided(&idle, &[109, 0], 1).replicas, 11);
}

#[test]
fn partitions_without_lag_get_no_replica_when_told_so() {
    let config = config(json!({"lagThreshold": 1, "limitToPartitionsWithLag": true}));
    assert_eq!(decided(&config, &[50, 50, 0, 0], 1).replicas, 2);
}

#[test]
fn an_even_distribution_takes_the_next_divisor() {
    let config = config(json!({"lagThreshold": 1, "ensureEvenDistributionOfPartitions": true}));
    assert_eq!(decided(&config, &[4, 0, 0, 0, 0, 0], 1).replicas, 6);
    assert_eq!(decided(&config, &[3, 0, 0, 0, 0, 0], 1).replicas, 3);
}

#[test]
fn the_maximum_is_reached_and_not_missed_by_a_tolerance() {
    // The HPA's 10 % tolerance sticks at 63 of 64.
    let lags = [10; 64];
    let decision = decided(&config(json!({"lagThreshold": 10, "maxReplicaCount": 64})), &lags, 63);
    assert_eq!(decision.replicas, 64);
}

#[test]
fn broker_trouble_never_scales_in_by_itself() {
    let config = config(json!({"minReplicaCount": 0}));
    let mut memory = Memory::default();
    for second in 0..600 {
        memory.remember(second * 1_000, None);
        assert_eq!(decide(&mut memory, &config, situation(second * 1_000, 5)).replicas, 5);
    }
}

#[test]
fn the_fallback_applies_after_its_failures_and_not_before() {
    let config = config(json!({"fallback": {"failureThreshold": 3, "replicas": 6}}));
    let mut memory = Memory::default();
    let mut replicas = Vec::new();
    for second in 0..3 {
        memory.remember(second * 1_000, None);
        replicas.push(decide(&mut memory, &config, situation(second * 1_000, 2)).replicas);
    }
    assert_eq!(replicas, [2, 2, 6]);
}

#[test]
fn a_stuck_partition_is_not_counted_when_told_so_but_only_once_it_was_seen_stuck() {
    let config = config(json!({"lagThreshold": 10, "excludePersistentLag": true}));
    let mut memory = Memory::default();
    memory.remember(0, Some(look(0, &[100; 10], 7)));
    assert_eq!(
        decide(&mut memory, &config, situation(0, 1)).replicas,
        10,
        "a restart forgets, and counts it"
    );
    memory.remember(STUCK_MS, Some(look(STUCK_MS, &[100; 10], 7)));
    assert_eq!(decide(&mut memory, &config, situation(STUCK_MS, 1)).replicas, 1);
}

#[test]
fn k5_lag_is_persistent_from_when_it_began_and_wakes_a_component_that_stopped() {
    let config = config(json!({
        "minReplicaCount": 0, "cooldownSeconds": 0, "excludePersistentLag": true, "lagThreshold": 10,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}
    }));
    let mut memory = Memory::default();
    let mut at = |second: i64, lag: i64, handled: i64, ready: i32, current: i32| {
        let look = Look { ready, ..look(second * 1_000, &[lag, 0], handled) };
        memory.remember(second * 1_000, Some(look));
        let decision = decide(&mut memory, &config, situation(second * 1_000, current));
        (decision.replicas, decision.lag)
    };
    assert_eq!(at(0, 0, 100, 1, 1), (0, Some(0)));
    // Idle for an hour. Then 15 messages arrive, and nobody is there for another minute.
    assert_eq!(at(3_600, 0, 100, 0, 0), (0, Some(0)));
    assert_eq!(at(3_601, 15, 100, 0, 0), (2, Some(15)));
    assert_eq!(at(3_660, 15, 100, 0, 2).0, 2);
    // Somebody is there and nothing moves. More would not help, but the last one stays.
    assert_eq!(at(3_661, 15, 100, 2, 2).0, 2);
    assert_eq!(at(3_680, 15, 100, 2, 2), (1, Some(15)));
}

#[test]
fn k5_a_component_that_just_stopped_wakes_at_once() {
    let config = config(json!({
        "minReplicaCount": 0, "cooldownSeconds": 0,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}
    }));
    let mut memory = Memory::default();
    let mut at = |second: i64, lag: i64, current: i32| {
        let look = Look { ready: current, ..look(second * 1_000, &[lag], 100) };
        memory.remember(second * 1_000, Some(look));
        decide(&mut memory, &config, situation(second * 1_000, current)).replicas
    };
    assert_eq!(at(0, 0, 1), 0);
    assert_eq!(at(1, 0, 0), 0);
    assert_eq!(at(2, 1, 0), 1);
}

#[test]
fn k4_a_new_shop_that_is_idle_stays_at_its_minimum() {
    let config = config(json!({"maxReplicaCount": 4}));
    let mut memory = Memory::default();
    let mut idle = look(0, &[0; 32], 0);
    for partition in &mut idle.partitions {
        partition.committed = None;
    }
    memory.remember(0, Some(idle));
    let decision = decide(&mut memory, &config, situation(0, 1));
    assert_eq!((decision.replicas, decision.lag), (1, Some(0)));
}

#[test]
fn a_short_dip_changes_nothing_and_a_long_one_does() {
    let config =
        config(json!({"lagThreshold": 10, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 30}}}));
    let mut memory = Memory::default();
    let mut current = 1;
    for second in 0..100 {
        let lag = if second < 10 { 40 } else { 0 };
        memory.remember(second * 1_000, Some(look(second * 1_000, &[lag, 0, 0, 0], 0)));
        current = decide(&mut memory, &config, situation(second * 1_000, current)).replicas;
        match second {
            5..=38 => assert_eq!(current, 4, "second {second}"),
            45.. => assert_eq!(current, 1, "second {second}"),
            _ => {}
        }
    }
}

#[test]
fn a_new_operator_shrinks_nothing_before_it_has_seen_a_window() {
    let config = config(json!({"lagThreshold": 10}));
    let decision = decided(&config, &[0, 0, 0, 0], 4);
    assert_eq!((decision.replicas, decision.limited_by), (4, Some("Stabilization")));
}

#[test]
fn nothing_shrinks_while_a_sale_is_under_way_and_its_floor_holds() {
    let config =
        config(json!({"lagThreshold": 10, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}));
    let mut memory = Memory::default();
    memory.remember(0, Some(look(0, &[0, 0, 0, 0], 0)));
    let selling = Situation { sale_under_way: true, ..situation(0, 3) };
    assert_eq!(decide(&mut memory, &config, selling).replicas, 3);
    let ahead = Situation { floor: 4, ..situation(0, 1) };
    assert_eq!(decide(&mut memory, &config, ahead).replicas, 4);
    assert_eq!(decide(&mut memory, &config, situation(0, 3)).replicas, 1);
}

fn paused(annotations: &[(&str, &str)], lags: &[i64], current: i32) -> (i32, Option<&'static str>) {
    let annotations =
        annotations.iter().map(|(name, value)| (format!("{ANNOTATION}{name}"), (*value).to_owned()));
    let pause = Pause::of(&annotations.collect());
    let config =
        config(json!({"lagThreshold": 10, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}));
    let mut memory = Memory::default();
    memory.remember(0, Some(look(0, lags, 0)));
    let decision = decide(&mut memory, &config, Situation { pause, ..situation(0, current) });
    (decision.replicas, decision.limited_by)
}

#[test]
fn a_person_holds_autoscaling_with_the_annotations_of_keda() {
    let (much, nothing) = ([40, 0, 0, 0], [0, 0, 0, 0]);
    assert_eq!(paused(&[("paused", "true")], &much, 2), (2, Some("Paused")));
    assert_eq!(paused(&[("paused", "true")], &nothing, 2), (2, Some("Paused")));
    assert_eq!(paused(&[("paused-scale-in", "true")], &nothing, 2), (2, Some("Paused")));
    assert_eq!(paused(&[("paused-scale-in", "true")], &much, 2).0, 4);
    assert_eq!(paused(&[("paused-scale-out", "true")], &much, 2), (2, Some("Paused")));
    assert_eq!(paused(&[("paused-scale-out", "true")], &nothing, 2).0, 1);
    // The pause also overrides the minimum and the number of partitions.
    assert_eq!(paused(&[("paused-replicas", "0")], &much, 2), (0, Some("Paused")));
    assert_eq!(paused(&[("paused-replicas", "9")], &nothing, 2), (9, Some("Paused")));
    for unreadable in [("paused", "yes"), ("paused-replicas", "-1"), ("paused-replicas", "many")] {
        assert_eq!(paused(&[unreadable], &much, 2).0, 4, "{unreadable:?}");
    }
}

#[test]
fn a_group_that_is_deleted_between_two_looks_keeps_its_workers() {
    let config = config(json!({"minReplicaCount": 0, "cooldownSeconds": 0}));
    let mut memory = Memory::default();
    memory.remember(0, Some(look(0, &[100, 100], 5)));
    let running = decide(&mut memory, &config, situation(0, 2)).replicas;
    let mut gone = look(1_000, &[100, 100], 5);
    for partition in &mut gone.partitions {
        partition.committed = None;
    }
    memory.remember(1_000, Some(gone));
    let decision = decide(&mut memory, &config, situation(1_000, running));
    assert!(decision.replicas >= 1, "{decision:?}");
    assert_eq!(decision.lag, Some(210), "counted from where the log begins, as our consumers begin");
}

#[test]
fn policies_bound_the_change_per_period() {
    let config = config(json!({
        "lagThreshold": 1,
        "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 10}]}}
    }));
    let mut memory = Memory::default();
    let mut current = 1;
    for second in 0..10 {
        memory.remember(second * 1_000, Some(look(second * 1_000, &[9; 10], 0)));
        current = decide(&mut memory, &config, situation(second * 1_000, current)).replicas;
    }
    assert_eq!(current, 3);
}

#[test]
fn a_drain_time_follows_from_the_measured_rate() {
    let config = config(json!({"targetDrainSeconds": 10}));
    let mut memory = Memory::default();
    // One replica handles 100 a second. Nothing arrives. 4,000 are left.
    memory.remember(0, Some(look(0, &[4_100, 0, 0, 0, 0], 0)));
    let mut second = look(1_000, &[4_000, 0, 0, 0, 0], 0);
    second.partitions[0].committed = Some(100);
    second.partitions[0].high = 4_100;
    memory.remember(1_000, Some(second));
    let decision = decide(&mut memory, &config, situation(1_000, 1));
    assert_eq!((decision.replicas, decision.rate_per_replica), (4, Some(100)));
}

#[test]
fn the_first_replica_starts_above_the_activation_threshold_and_the_last_goes_after_the_cooldown() {
    let config = config(json!({
        "minReplicaCount": 0, "activationLagThreshold": 5, "cooldownSeconds": 20,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}
    }));
    let mut memory = Memory::default();
    let mut at = |second: i64, lag: i64, current: i32| {
        memory.remember(second * 1_000, Some(look(second * 1_000, &[lag], 0)));
        decide(&mut memory, &config, situation(second * 1_000, current)).replicas
    };
    assert_eq!(at(0, 5, 0), 0);
    assert_eq!(at(1, 6, 0), 1);
    assert_eq!(at(10, 0, 1), 1, "cooling down");
    assert_eq!(at(22, 0, 1), 0);
}

#[test]
fn lag_that_a_rebalance_makes_does_not_scale_the_group_again() {
    let config = config(json!({"lagThreshold": 10, "maxReplicaCount": 8}));
    let mut memory = Memory::default();
    let mut at = |second: i64, lag: i64, handled: i64, ready: i32, current: i32| {
        let look = Look { ready, ..look(second * 1_000, &[lag, 0, 0, 0, 0, 0, 0, 0], handled) };
        memory.remember(second * 1_000, Some(look));
        let decision = decide(&mut memory, &config, situation(second * 1_000, current));
        (decision.replicas, decision.limited_by)
    };
    assert_eq!(at(0, 20, 100, 1, 1), (2, None));
    // The second pod starts and joins. Nobody handles anything meanwhile, and the lag grows.
    assert_eq!(at(1, 40, 120, 1, 2), (2, Some("Rebalancing")));
    assert_eq!(at(2, 60, 120, 2, 2), (2, Some("Rebalancing")));
    assert_eq!(at(3, 80, 120, 2, 2), (2, Some("Rebalancing")));
    // It resumes and is still behind: now there is a reason.
    assert_eq!(at(4, 60, 140, 2, 2), (6, None));
}

#[test]
fn a_group_that_never_goes_on_is_scaled_all_the_same() {
    let config = config(json!({"lagThreshold": 10}));
    let mut memory = Memory::default();
    let mut replicas = Vec::new();
    for second in 0..20 {
        memory.remember(second * 1_000, Some(look(second * 1_000, &[40, 0, 0, 0], 0)));
        let current = if second == 0 { 1 } else { 2 };
        replicas.push(decide(&mut memory, &config, situation(second * 1_000, current)).replicas);
    }
    assert_eq!(replicas[1..16], [2; 15]);
    assert_eq!(replicas[16..], [4; 4]);
}

#[test]
fn the_floor_of_a_sale_does_not_wait_for_a_rebalance() {
    let config = config(json!({"lagThreshold": 10}));
    let mut memory = Memory::default();
    for (second, current) in [(0, 1), (1, 2)] {
        memory.remember(second * 1_000, Some(look(second * 1_000, &[40, 0, 0, 0], 0)));
        decide(&mut memory, &config, situation(second * 1_000, current));
    }
    let opening = Situation { floor: 3, ..situation(2_000, 2) };
    assert_eq!(decide(&mut memory, &config, opening).replicas, 3);
}
