//! Random campaigns: a seed picks faults, times and targets, and several faults are active at once.
//!
//! A campaign is a series of rounds. Each round is its own sale, with a schedule that depends only on the
//! seed and the round. So `cargo xtask faults --seed N --round R` repeats a round that found something.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use rocketmart_harness::stack::Component;
use serde_json::json;

use crate::{
    fault::Fault,
    network::{Edge, Trouble},
    rows::{DRAIN_LIMIT, PAYMENT_SECONDS, units},
    run::{Faults, Plan},
};

/// How long a round injects faults; settling and auditing come on top.
pub const ROUND: Duration = Duration::from_secs(45);
const FAULTS_PER_ROUND: usize = 16;
const SHOPPERS: usize = 900;
/// With everything at once, the longest of all bounds applies.
const BOUND: Duration = Duration::from_mins(3);

/// The schedule of a round.
pub fn schedule(seed: u64, round: u64) -> Vec<(Duration, Fault)> {
    let mut chance = StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ round);
    let mut faults: Vec<_> = (0..FAULTS_PER_ROUND)
        .map(|_| {
            let at = Duration::from_millis(
                chance.random_range(2_000..u64::try_from(ROUND.as_millis()).unwrap_or(2_001)),
            );
            (at, any(&mut chance))
        })
        .collect();
    faults.sort_by_key(|(at, _)| *at);
    faults
}

/// A round as a run.
pub fn plan(seed: u64, round: u64) -> Plan {
    Plan {
        name: format!("campaign-{seed}-{round}"),
        faults: Faults::AtTimes(schedule(seed, round)),
        bound: BOUND,
        shoppers: SHOPPERS,
        units: units(SHOPPERS),
        arrive_within: ROUND,
        kafka_is_emptied: false,
        payment_seconds: PAYMENT_SECONDS,
        drain_limit: DRAIN_LIMIT,
        seed: seed ^ round,
    }
}

fn any(chance: &mut StdRng) -> Fault {
    const KILLED: [Component; 9] = [
        Component::Order,
        Component::OrderRelay,
        Component::OrderWorker,
        Component::Payment,
        Component::PaymentWorker,
        Component::Delivery,
        Component::DeliveryWorker,
        Component::SimulateProvider,
        Component::Catalog,
    ];
    const DOUBLE: [Component; 4] =
        [Component::Order, Component::OrderRelay, Component::OrderWorker, Component::PaymentWorker];
    let seconds = chance.random_range(1..8);
    let component = *DOUBLE.choose(chance).unwrap_or(&Component::Order);
    let replica = chance.random_range(0..2);
    match chance.random_range(0..18) {
        0 | 1 => {
            let component = *KILLED.choose(chance).unwrap_or(&Component::Order);
            Fault::Kill { component, replica: if DOUBLE.contains(&component) { replica } else { 0 } }
        }
        2 | 3 => Fault::Kill { component, replica },
        4 => Fault::Freeze { component, replica, seconds },
        5 | 6 => Fault::RedisKilled,
        7 => Fault::RedisFrozen { seconds },
        8 => Fault::RedisFunctionsGone,
        9 => Fault::RedisTornTail,
        10 => Fault::KafkaKilled,
        11 => Fault::KafkaDown { seconds },
        12 => Fault::PostgresKilled,
        13 => Fault::PostgresPoolExhausted { seconds },
        14 => {
            let troubles = [
                json!({"timeout_after_charging_rate": 0.5}),
                json!({"duplicate_callbacks": true, "callback_jitter_ms": 2_000}),
                json!({"outage": true}),
                json!({"delay_ms": 3_000}),
                json!({"callback_url": ""}),
            ];
            Fault::Provider { trouble: troubles.choose(chance).cloned().unwrap_or_default(), seconds }
        }
        15 => Fault::RebalanceStorm { component: Component::OrderWorker, seconds },
        _ => {
            let usual = Trouble::default();
            let troubles = [
                Trouble { delay_ms: 200, ..usual },
                Trouble { loss: 0.05, ..usual },
                Trouble { reset: true, ..usual },
                Trouble { cut_to_server: true, ..usual },
                Trouble { cut_to_client: true, ..usual },
            ];
            let edge = *Edge::ALL.choose(chance).unwrap_or(&Edge::OrderRedis);
            Fault::Network { edge, trouble: *troubles.choose(chance).unwrap_or(&usual), seconds }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_schedule_and_another_one_another() {
        assert_eq!(schedule(7, 3), schedule(7, 3));
        assert_ne!(schedule(7, 3), schedule(7, 4));
        assert_ne!(schedule(7, 3), schedule(8, 3));
    }

    #[test]
    fn faults_overlap_in_most_rounds() {
        let overlaps = |round| {
            let faults = schedule(1, round);
            faults.windows(2).any(|pair| pair[0].0 + pair[0].1.duration() > pair[1].0)
        };
        assert!((0..20).filter(|round| overlaps(*round)).count() > 15);
    }

    #[test]
    fn twenty_minutes_hold_two_hundred_injections() {
        // A round takes the time of its faults and, on a slow machine, as long again for draining and the
        // audit.
        let rounds = 20 * 60 / (2 * ROUND.as_secs());
        assert!(rounds * FAULTS_PER_ROUND as u64 >= 200);
    }
}
