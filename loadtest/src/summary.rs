//! The figures of a rush, calculated from what shoppers were told.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    history::{Operation, Outcome, Record},
    shopper::Ending,
};

/// Milliseconds from sending a purchase request to its answer.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Purchase requests sent.
    pub attempts: usize,
    /// Distinct orders that got a 2xx.
    pub accepted: usize,
    /// Definite refusals by problem code.
    pub rejected: BTreeMap<String, usize>,
    /// Requests without a definite answer.
    pub unknown: usize,
    /// 2xx answers that repeated the order already given for the same key.
    pub duplicates_absorbed: usize,
    /// Keys that got more than one order: must be 0.
    pub keys_with_several_orders: usize,
    /// Distinct orders accepted in the busiest second.
    pub accepted_per_second: usize,
    pub latency_ms: Latency,
    pub left_before_paying: usize,
    pub left_before_completing: usize,
    pub submitted_payment: usize,
}

pub fn summarize(records: &[Record], endings: &[Ending]) -> Result<Summary> {
    let purchases: Vec<&Record> =
        records.iter().filter(|record| record.operation == Operation::Purchase).collect();
    let mut latency = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
    let mut rejected: BTreeMap<String, usize> = BTreeMap::new();
    let mut by_key: HashMap<(Uuid, Uuid), HashSet<Uuid>> = HashMap::new();
    let mut by_second: HashMap<i64, usize> = HashMap::new();
    let mut orders = HashSet::new();
    let (mut unknown, mut duplicates) = (0, 0);
    for record in &purchases {
        latency.saturating_record(u64::try_from(record.ended_us - record.started_us).unwrap_or_default());
        match record.outcome {
            Outcome::Ok => {
                if let (Some(order), Some(key)) = (record.order, record.key) {
                    by_key.entry((record.buyer, key)).or_default().insert(order);
                    if orders.insert(order) {
                        *by_second.entry(record.ended_us / 1_000_000).or_default() += 1;
                    } else {
                        duplicates += 1;
                    }
                }
            }
            Outcome::Refused => *rejected.entry(record.code.clone()).or_default() += 1,
            Outcome::Unknown => unknown += 1,
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a request fit a double exactly")]
    let at = |quantile: f64| latency.value_at_quantile(quantile) as f64 / 1_000.0;
    let ended = |wanted: fn(&Ending) -> bool| endings.iter().filter(|ending| wanted(ending)).count();
    Ok(Summary {
        attempts: purchases.len(),
        accepted: orders.len(),
        rejected,
        unknown,
        duplicates_absorbed: duplicates,
        keys_with_several_orders: by_key.values().filter(|orders| orders.len() > 1).count(),
        accepted_per_second: by_second.values().copied().max().unwrap_or_default(),
        latency_ms: Latency { p50: at(0.5), p99: at(0.99), p999: at(0.999) },
        left_before_paying: ended(|ending| *ending == Ending::LeftBeforePaying),
        left_before_completing: ended(|ending| *ending == Ending::LeftBeforeCompleting),
        submitted_payment: ended(|ending| matches!(ending, Ending::SubmittedPayment(_))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purchase(buyer: u128, key: u128, order: Option<u128>, code: &str) -> Record {
        Record {
            operation: Operation::Purchase,
            buyer: Uuid::from_u128(buyer),
            key: Some(Uuid::from_u128(key)),
            started_us: 1_000,
            ended_us: 3_000,
            outcome: if order.is_some() { Outcome::Ok } else { Outcome::Refused },
            status: if order.is_some() { 201 } else { 409 },
            code: code.to_owned(),
            order: order.map(Uuid::from_u128),
        }
    }

    #[test]
    fn a_repeated_request_is_one_purchase_and_one_absorbed_duplicate() -> Result<()> {
        let records =
            [purchase(1, 1, Some(7), ""), purchase(1, 1, Some(7), ""), purchase(2, 2, None, "sold-out")];
        let summary = summarize(&records, &[])?;
        assert_eq!((summary.attempts, summary.accepted, summary.duplicates_absorbed), (3, 1, 1));
        assert_eq!(summary.rejected["sold-out"], 1);
        assert_eq!(summary.keys_with_several_orders, 0);
        Ok(())
    }

    #[test]
    fn two_orders_for_one_key_are_seen() -> Result<()> {
        let records = [purchase(1, 1, Some(7), ""), purchase(1, 1, Some(8), "")];
        assert_eq!(summarize(&records, &[])?.keys_with_several_orders, 1);
        Ok(())
    }
}
