//! The rows of the list of faults: what each injects, and what it promises.

use std::time::Duration;

use rocketmart_harness::stack::Component;
use serde_json::json;

use crate::{
    fault::{BEFORE_OFFSET_COMMIT, Fault},
    network::{Edge, Trouble},
    run::{Faults, Plan},
};

/// Shoppers per second, and the share of them that can get a unit.
const PACE: usize = 25;
const MOST_SHOPPERS: usize = 2_500;
const SCARCITY: f64 = 0.8;
/// An unpaid order gives its unit back after this time; every row waits for it in the end.
pub const PAYMENT_SECONDS: u32 = 12;
/// Enough when no fault lasts: what is bought during a fault can be paid once it is over.
const SHORTEST_PAYMENT_SECONDS: u32 = 6;
/// Time from the end of a fault until paying works again.
const TO_PAY_AFTERWARDS: u64 = 4;
/// Time from closing the sale until everything has drained.
pub const DRAIN_LIMIT: Duration = Duration::from_mins(4);
/// The usual time of a recovery, to guess how long a row will take.
const USUAL_RECOVERY: Duration = Duration::from_secs(6);

/// One row.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name on the command line.
    pub name: &'static str,
    pub component: &'static str,
    pub what: &'static str,
    pub bound: Duration,
    pub faults: Vec<Fault>,
    pub kafka_is_emptied: bool,
}

/// A row that runs elsewhere, and where.
#[derive(Debug, Clone, Copy)]
pub struct Elsewhere {
    pub component: &'static str,
    pub what: &'static str,
    pub place: &'static str,
}

pub const ELSEWHERE: [Elsewhere; 2] = [
    Elsewhere {
        component: "operator",
        what: "killed after each write; two at once; stale watch; sale edited, shortened, deleted; API server away",
        place: "operator/tests (real API server and etcd)",
    },
    Elsewhere {
        component: "node",
        what: "the node's own processes, with its pods, killed and started again",
        place: "`cargo xtask test e2e` (needs the node); here: all processes of the shop, row `everything`",
    },
];

impl Row {
    fn new(
        name: &'static str,
        component: &'static str,
        what: &'static str,
        within: u64,
        faults: Vec<Fault>,
    ) -> Self {
        Self { name, component, what, bound: Duration::from_secs(within), faults, kafka_is_emptied: false }
    }

    /// How long buyers have to pay: longer than the longest fault, unless that is a long wait. A longer fault
    /// does not hurt a buyer who has submitted a payment in time.
    fn payment_seconds(&self) -> u32 {
        let longest = self.faults.iter().map(|fault| fault.duration().as_secs()).max().unwrap_or_default();
        let seconds = u32::try_from(longest + TO_PAY_AFTERWARDS).unwrap_or(u32::MAX);
        seconds.clamp(SHORTEST_PAYMENT_SECONDS, PAYMENT_SECONDS)
    }

    /// A sale long enough for its faults.
    pub fn plan(&self, seed: u64) -> Plan {
        let lasting: Duration = self.faults.iter().map(|fault| fault.duration() + USUAL_RECOVERY).sum();
        let seconds = usize::try_from(lasting.as_secs()).unwrap_or_default().clamp(10, 120);
        let shoppers = (seconds * PACE).min(MOST_SHOPPERS);
        Plan {
            name: self.name.to_owned(),
            faults: Faults::InTurn(self.faults.clone()),
            bound: self.bound,
            shoppers,
            units: units(shoppers),
            arrive_within: Duration::from_secs(seconds as u64),
            kafka_is_emptied: self.kafka_is_emptied,
            payment_seconds: self.payment_seconds(),
            drain_limit: DRAIN_LIMIT,
            seed,
        }
    }
}

/// Fewer units than shoppers, so that the last shoppers compete.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few thousand"
)]
pub fn units(shoppers: usize) -> u32 {
    (shoppers as f64 * SCARCITY) as u32
}

fn times(count: usize, fault: &Fault) -> Vec<Fault> {
    vec![fault.clone(); count]
}

fn kills(component: Component, count: usize) -> Vec<Fault> {
    (0..count).map(|turn| Fault::Kill { component, replica: turn % 2 }).collect()
}

pub fn dies(component: Component, place: &'static str) -> Fault {
    Fault::Die { component, place, chance: 0.1, seconds: 8 }
}

fn provider(trouble: serde_json::Value) -> Fault {
    Fault::Provider { trouble, seconds: 6 }
}

/// All rows that need only processes.
#[expect(clippy::too_many_lines, reason = "a table")]
pub fn all() -> Vec<Row> {
    use Component::{DeliveryWorker, Order, OrderRelay, OrderWorker, PaymentWorker};
    let mut rows = vec![
        Row::new("order-killed", "order API", "SIGKILL mid-batch", 5, kills(Order, 5)),
        Row::new(
            "order-rolled",
            "order API",
            "rolling restart under load",
            5,
            times(2, &Fault::Roll { component: Order }),
        ),
        Row::new(
            "overload",
            "order API",
            "twice the capacity: 80 % of the peak, quick refusals",
            30,
            vec![Fault::Overload],
        ),
        Row::new("redis-killed", "Redis", "SIGKILL again and again", 15, times(5, &Fault::RedisKilled)),
        Row::new("redis-frozen", "Redis", "SIGSTOP 10 s", 15, times(2, &Fault::RedisFrozen { seconds: 10 })),
        Row::new(
            "redis-disk-full",
            "Redis",
            "disk of the append-only file full",
            15,
            times(2, &Fault::RedisDiskFull { seconds: 6 }),
        ),
        Row::new(
            "redis-torn",
            "Redis",
            "append-only file ends in half a command",
            15,
            times(3, &Fault::RedisTornTail),
        ),
        Row::new(
            "redis-power-cut",
            "Redis",
            "power cut: the disk holds what was fsynced",
            15,
            times(3, &Fault::RedisPowerCut),
        ),
        Row::new("redis-functions", "Redis", "functions missing", 15, times(3, &Fault::RedisFunctionsGone)),
        Row::new("redis-lost", "Redis", "volume lost; the sale is rebuilt", 60, times(2, &Fault::RedisLost)),
        Row::new(
            "redis-older",
            "Redis",
            "comes back as an older copy; the sale is rebuilt",
            60,
            times(2, &Fault::RedisOlder { seconds: 3 }),
        ),
        Row::new("relay-killed", "relay", "SIGKILL of either of two relays", 10, kills(OrderRelay, 5)),
        Row::new(
            "relay-frozen",
            "relay",
            "one of two hangs",
            10,
            times(1, &Fault::Freeze { component: OrderRelay, replica: 0, seconds: 10 }),
        ),
        Row::new("kafka-killed", "Kafka", "SIGKILL", 60, times(3, &Fault::KafkaKilled)),
        Row::new(
            "kafka-down",
            "Kafka",
            "down for 60 s, purchases go on",
            60,
            times(1, &Fault::KafkaDown { seconds: 60 }),
        ),
        Row::new(
            "workers-killed",
            "workers",
            "SIGKILL",
            30,
            [
                kills(OrderWorker, 3),
                kills(PaymentWorker, 3),
                vec![Fault::Kill { component: DeliveryWorker, replica: 0 }],
            ]
            .concat(),
        ),
        Row::new(
            "workers-between-commits",
            "workers",
            "die after the SQL commit, before the offset commit",
            30,
            vec![
                dies(OrderWorker, BEFORE_OFFSET_COMMIT),
                dies(PaymentWorker, BEFORE_OFFSET_COMMIT),
                dies(DeliveryWorker, BEFORE_OFFSET_COMMIT),
            ],
        ),
        Row::new(
            "rebalance-storm",
            "workers",
            "rebalance storm",
            30,
            times(1, &Fault::RebalanceStorm { component: OrderWorker, seconds: 12 }),
        ),
        Row::new("poison", "workers", "poison message parked", 30, times(2, &Fault::Poison)),
        Row::new("postgres-killed", "PostgreSQL", "SIGKILL", 30, times(3, &Fault::PostgresKilled)),
        Row::new(
            "postgres-frozen",
            "PostgreSQL",
            "hangs for 10 s",
            30,
            times(1, &Fault::PostgresFrozen { seconds: 10 }),
        ),
        Row::new(
            "postgres-pool",
            "PostgreSQL",
            "pools exhausted",
            30,
            times(2, &Fault::PostgresPoolExhausted { seconds: 8 }),
        ),
        Row::new(
            "postgres-deadlocks",
            "PostgreSQL",
            "deadlocks",
            30,
            times(1, &Fault::PostgresDeadlocks { seconds: 10 }),
        ),
        Row::new(
            "postgres-slow",
            "PostgreSQL",
            "slow fsync",
            30,
            times(1, &Fault::PostgresSlowFsync { seconds: 10 }),
        ),
        Row::new(
            "postgres-lost",
            "PostgreSQL",
            "lost while Redis is not; back from a backup and Kafka's log",
            120,
            times(1, &Fault::PostgresLost { seconds: 6 }),
        ),
        Row::new(
            "restored",
            "PostgreSQL and Redis",
            "both lost; back from a backup and Kafka's log",
            120,
            times(1, &Fault::BothLost { seconds: 6 }),
        ),
        Row::new(
            "provider",
            "payment provider",
            "charged then timed out; call-backs twice, out of order, never; 503s",
            42,
            vec![
                provider(json!({"timeout_after_charging_rate": 0.5})),
                provider(json!({"duplicate_callbacks": true, "callback_jitter_ms": 3_000})),
                provider(json!({"callback_url": ""})),
                provider(json!({"outage": true})),
                provider(json!({"delay_ms": 3_000})),
            ],
        ),
        Row::new(
            "clock",
            "clock",
            "±10 min on one process",
            60,
            [Order, OrderRelay, OrderWorker, PaymentWorker]
                .into_iter()
                .flat_map(|component| {
                    [10, -10].map(|minutes| Fault::Clock { component, minutes, seconds: 4 })
                })
                .collect(),
        ),
        Row::new(
            "everything",
            "node",
            "all processes killed and started again",
            180,
            times(2, &Fault::Everything),
        ),
    ];
    rows.push(Row {
        kafka_is_emptied: true,
        ..Row::new("kafka-emptied", "Kafka", "log deleted, replayed", 60, times(1, &Fault::KafkaEmptied))
    });
    rows.extend(network());
    rows
}

/// Each trouble on each edge, one row per trouble.
fn network() -> Vec<Row> {
    let on_each = |trouble: Trouble| -> Vec<Fault> {
        Edge::ALL.into_iter().map(|edge| Fault::Network { edge, trouble, seconds: 3 }).collect()
    };
    let usual = Trouble::default();
    vec![
        Row::new(
            "network-slow",
            "network",
            "200 ms on each edge",
            30,
            on_each(Trouble { delay_ms: 200, ..usual }),
        ),
        Row::new(
            "network-loss",
            "network",
            "5 % loss on each edge",
            30,
            on_each(Trouble { loss: 0.05, ..usual }),
        ),
        Row::new(
            "network-reset",
            "network",
            "reset on each edge",
            30,
            on_each(Trouble { reset: true, ..usual }),
        ),
        Row::new(
            "network-to-server",
            "network",
            "nothing to the server on each edge",
            30,
            on_each(Trouble { cut_to_server: true, ..usual }),
        ),
        Row::new(
            "network-to-client",
            "network",
            "nothing to the client on each edge",
            30,
            on_each(Trouble { cut_to_client: true, ..usual }),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_have_names_of_their_own_and_do_something() {
        let rows = all();
        let names: BTreeSet<_> = rows.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), rows.len());
        assert!(rows.iter().all(|row| !row.faults.is_empty()));
    }

    #[test]
    fn every_network_trouble_meets_every_edge() {
        for row in network() {
            let edges: BTreeSet<_> = row
                .faults
                .iter()
                .filter_map(|fault| match fault {
                    Fault::Network { edge, trouble, .. } if *trouble != Trouble::default() => Some(*edge),
                    _ => None,
                })
                .collect();
            assert_eq!(edges.len(), Edge::ALL.len(), "{}", row.name);
        }
    }
}
