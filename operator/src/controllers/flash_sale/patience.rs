//! How long an obstructed sale waits before the next look.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::ResourceExt;
use rocketmart_crds::FlashSale;

/// The fruitless looks of each sale, by uid.
#[derive(Default)]
pub(super) struct Patience(Mutex<HashMap<String, InVain>>);

/// How many looks in a row found an obstacle since the spec last changed.
struct InVain {
    generation: Option<i64>,
    looks: u32,
}

impl Patience {
    /// The next pause: it doubles after each fruitless look, from `least` to `most`. A change of the spec
    /// starts over.
    pub(super) fn pause(&self, sale: &FlashSale, least: Duration, most: Duration) -> Duration {
        let generation = sale.metadata.generation;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let in_vain = all.entry(sale.uid().unwrap_or_default()).or_insert(InVain { generation, looks: 0 });
        if in_vain.generation != generation {
            *in_vain = InVain { generation, looks: 0 };
        }
        let pause = least.saturating_mul(1 << in_vain.looks.min(16)).min(most);
        in_vain.looks += 1;
        pause
    }

    /// The obstacle, or the sale itself, is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pauses_grow_until_the_spec_changes_or_the_way_is_free() {
        let mut sale: FlashSale = serde_json::from_value(json!({
            "apiVersion": "rocketmart.dev/v1alpha1", "kind": "FlashSale",
            "metadata": { "name": "launch", "uid": "u", "generation": 1 },
            "spec": {
                "shop": "rocket", "currency": "KRW", "items": [{"sku": "A", "units": 1, "price": 1}],
                "opensAt": "2030-01-01T10:00:00Z", "closesAt": "2030-01-01T11:00:00Z",
            },
        }))
        .unwrap();
        let patience = Patience::default();
        let pause = |sale: &FlashSale| {
            patience.pause(sale, Duration::from_secs(2), Duration::from_secs(10)).as_secs()
        };
        assert_eq!([pause(&sale), pause(&sale), pause(&sale), pause(&sale)], [2, 4, 8, 10]);
        sale.metadata.generation = Some(2);
        assert_eq!([pause(&sale), pause(&sale)], [2, 4]);
        patience.forget("u");
        assert_eq!(pause(&sale), 2);
    }
}
