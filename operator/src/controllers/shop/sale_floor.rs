//! The sale's clock: while a sale is near or under way, a shop does not go below these replicas.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use kube::ResourceExt;
use rocketmart_crds::{Component, FlashSale, Phase};

/// The largest `preScale` per component over a shop's sales that are loading, open or draining.
pub fn of<'a>(sales: impl IntoIterator<Item = &'a FlashSale>, shop: &str) -> BTreeMap<Component, i32> {
    let mut floors = BTreeMap::new();
    for sale in sales.into_iter().filter(|sale| sale.spec.shop == shop && holds_replicas(sale)) {
        for (component, replicas) in &sale.spec.pre_scale {
            let floor = floors.entry(*component).or_insert(*replicas);
            *floor = (*floor).max(*replicas);
        }
    }
    floors
}

/// From the pre-load until the sale has drained.
pub fn holds_replicas(sale: &FlashSale) -> bool {
    let phase = sale.status.as_ref().and_then(|status| status.phase);
    matches!(
        phase,
        Some(
            Phase::Preloading | Phase::Ready | Phase::Open | Phase::SoldOut | Phase::Draining | Phase::Paused
        )
    )
}

/// Tells the changes of sales that concern their shop from those that do not. An open sale's counters
/// change every second, its floor only twice in its life.
#[derive(Default)]
pub(super) struct Changes {
    /// The floors that sales raise, by namespace and name.
    raised: Mutex<HashMap<(String, String), BTreeMap<Component, i32>>>,
}

impl Changes {
    /// Whether the sale raises another floor than when we last saw it.
    pub(super) fn concern(&self, sale: &FlashSale) -> bool {
        let name = (sale.namespace().unwrap_or_default(), sale.name_any());
        let floor = if holds_replicas(sale) { sale.spec.pre_scale.clone() } else { BTreeMap::new() };
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        let before = if floor.is_empty() { raised.remove(&name) } else { raised.insert(name, floor.clone()) };
        before.unwrap_or_default() != floor
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sale(shop: &str, phase: &str, pre_scale: serde_json::Value) -> FlashSale {
        serde_json::from_value(json!({
            "apiVersion": "rocketmart.dev/v1alpha1",
            "kind": "FlashSale",
            "metadata": { "name": "sale" },
            "spec": {
                "shop": shop,
                "items": [{ "sku": "A", "units": 1, "price": 1 }],
                "currency": "KRW",
                "opensAt": "2030-01-01T10:00:00Z",
                "closesAt": "2030-01-01T11:00:00Z",
                "preScale": pre_scale,
            },
            "status": { "phase": phase },
        }))
        .unwrap()
    }

    #[test]
    fn the_largest_floor_of_the_sales_under_way_holds() {
        let sales = [
            sale("rocket", "Open", json!({ "order": 3, "order-worker": 2 })),
            sale("rocket", "Preloading", json!({ "order": 5 })),
        ];
        let floors = of(&sales, "rocket");
        assert_eq!(floors, BTreeMap::from([(Component::Order, 5), (Component::OrderWorker, 2)]));
    }

    #[test]
    fn sales_of_other_shops_and_sales_far_off_or_over_hold_nothing() {
        let sales = [
            sale("other", "Open", json!({ "order": 3 })),
            sale("rocket", "Scheduled", json!({ "order": 3 })),
            sale("rocket", "Closed", json!({ "order": 3 })),
        ];
        assert!(of(&sales, "rocket").is_empty());
    }

    #[test]
    fn a_sale_concerns_its_shop_when_its_floor_changes_and_not_when_its_counters_do() {
        let changes = Changes::default();
        let seen = |phase: &str, workers: i32| {
            changes.concern(&sale("rocket", phase, json!({"order-worker": workers})))
        };
        assert!(!seen("Scheduled", 3), "raises nothing yet");
        assert!(seen("Preloading", 3));
        assert!(!seen("Open", 3));
        assert!(!seen("Open", 3));
        assert!(seen("Open", 4));
        assert!(seen("Closed", 4));
        assert!(!seen("Closed", 4));
        assert!(!changes.concern(&sale("rocket", "Open", json!({}))));
    }
}
