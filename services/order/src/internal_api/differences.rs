//! Compares what SQL promises about a sale with what Redis holds: terms and state.

use rocketmart_contracts::internal_api::{Difference, DifferenceKind, SaleState};
use rocketmart_stock::SaleCounters;

use super::spec;
use crate::reservations;
use crate::store::sales::Sale;

/// Where Redis does not hold the terms that SQL has. Units that move between counters while a sale runs are
/// not differences: SQL follows a moment later.
pub(super) fn differences(sale: &Sale, counters: Option<&SaleCounters>) -> Vec<Difference> {
    let Some(counters) = counters else {
        // A signed-off sale may be forgotten in Redis, and one that was never loaded is not known there
        // yet.
        let expected = sale.loaded && sale.state != SaleState::ClosedOut;
        return expected
            .then(|| difference(DifferenceKind::RedisLost, None, "Redis does not know this sale any more"))
            .into_iter()
            .collect();
    };
    let mut found = Vec::new();
    let mut compare = |what: &str, sku: Option<&str>, redis: String, sql: String| {
        if redis != sql {
            found.push(difference(
                DifferenceKind::TermsDiffer,
                sku,
                &format!("{what}: Redis {redis}, SQL {sql}"),
            ));
        }
    };
    compare("currency", None, counters.currency.clone(), sale.currency.clone());
    compare("opens_at_ms", None, counters.opens_at_ms.to_string(), sale.opens_at_ms.to_string());
    compare(
        "closes_at_ms",
        None,
        counters.closes_at_ms.unwrap_or_default().to_string(),
        if sale.standing { 0 } else { sale.closes_at_ms }.to_string(),
    );
    compare("payment_seconds", None, counters.payment_seconds.to_string(), sale.payment_seconds.to_string());
    for item in &sale.items {
        let sku = Some(item.sku.as_str());
        let Some(held) = counters.items.iter().find(|held| held.sku == item.sku) else {
            compare("sku", sku, "missing".into(), "present".into());
            continue;
        };
        compare("preloaded", sku, held.preloaded.to_string(), item.ledger.preloaded.to_string());
        compare("price", sku, held.price.to_string(), item.price.to_string());
        let limit = if sale.standing { 0 } else { item.per_buyer_limit };
        compare("limit", sku, held.limit.unwrap_or_default().to_string(), limit.to_string());
        let balanced = reservations::counters(held).balanced();
        compare("balanced", sku, balanced.to_string(), true.to_string());
    }
    for held in &counters.items {
        if !sale.items.iter().any(|item| item.sku == held.sku) {
            found.push(difference(
                DifferenceKind::TermsDiffer,
                Some(&held.sku),
                "sku: Redis present, SQL missing",
            ));
        }
    }
    found
}

/// Whether Redis is in another state than SQL says.
pub(super) fn state_difference(sale: &Sale, counters: Option<&SaleCounters>) -> Option<Difference> {
    let wanted = spec::state(sale.state);
    let found = counters?.state;
    (found != wanted).then(|| {
        difference(
            DifferenceKind::StateDiffers,
            None,
            &format!("Redis {found:?}, SQL {}", sale.state.as_str()),
        )
    })
}

pub(super) fn difference(kind: DifferenceKind, sku: Option<&str>, detail: &str) -> Difference {
    Difference { kind, order_id: None, sku: sku.map(str::to_owned), detail: detail.into() }
}
