//! What the catalog holds against a sale that is not loaded yet.
//!
//! The order service checks the same rules when it loads the stock, a minute before the opening. A seller
//! wants to know when declaring the sale.

use rocketmart_contracts::internal_api::Skus;
use rocketmart_crds::FlashSaleSpec;

/// Every catalog rule that the sale breaks now. Each message names the field and the rule, in the words
/// that the order service uses when it refuses to load.
pub(super) fn broken_rules(spec: &FlashSaleSpec, published: &Skus) -> Vec<String> {
    let mut broken = Vec::new();
    for (index, item) in spec.items.iter().enumerate() {
        let Some(known) = published.skus.iter().find(|known| known.sku == item.sku) else {
            broken.push(format!(
                "spec.items[{index}].sku: the catalog has published no such SKU (known-to-catalog)"
            ));
            continue;
        };
        if !known.published {
            broken.push(format!("spec.items[{index}].sku: its product is not published (published)"));
        }
        if known.currency != spec.currency {
            broken.push(format!(
                "spec.currency: {}: the catalog prices it in {} (same-as-catalog)",
                item.sku, known.currency
            ));
        }
        let available = known.available.max(0);
        if item.units > available {
            broken.push(format!(
                "spec.items[{index}].units: {} more units are wanted, {available} are available \
                 (within-stock)",
                item.units
            ));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use rocketmart_contracts::internal_api::PublishedSku;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn spec() -> FlashSaleSpec {
        serde_json::from_value(json!({
            "shop": "rocket", "currency": "KRW",
            "opensAt": "2030-01-01T10:00:00Z", "closesAt": "2030-01-01T11:00:00Z",
            "items": [{"sku": "A", "units": 10, "price": 100}, {"sku": "B", "units": 1, "price": 100}],
        }))
        .unwrap()
    }

    fn known(published: bool, currency: &str, available: i64, sku: &str) -> PublishedSku {
        let (product_id, seller_id) = (Uuid::nil(), Uuid::nil());
        let (sku, title, currency) = (sku.to_owned(), "a product".to_owned(), currency.to_owned());
        PublishedSku { sku, published, product_id, seller_id, title, price: 100, currency, available }
    }

    fn catalogue(a: PublishedSku) -> Skus {
        Skus { skus: vec![a, known(true, "KRW", 1, "B")], unknown: vec![] }
    }

    #[test]
    fn a_sale_of_published_skus_with_enough_units_breaks_nothing() {
        let known = known(true, "KRW", 10, "A");
        assert!(broken_rules(&spec(), &catalogue(known)).is_empty());
    }

    #[test]
    fn each_broken_rule_names_its_field() {
        for (found, expected) in [
            (known(true, "KRW", 10, "OTHER"), "spec.items[0].sku: the catalog has published no such SKU"),
            (known(false, "KRW", 10, "A"), "spec.items[0].sku: its product is not published"),
            (known(true, "EUR", 10, "A"), "spec.currency: A: the catalog prices it in EUR"),
            (known(true, "KRW", 9, "A"), "spec.items[0].units: 10 more units are wanted, 9 are available"),
        ] {
            let broken = broken_rules(&spec(), &catalogue(found));
            assert_eq!(broken.len(), 1, "{broken:?}");
            assert!(broken[0].starts_with(expected), "{broken:?}");
        }
    }
}
