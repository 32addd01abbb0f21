//! The differences that the close-out found, when there are more than a status can list.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Resource, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams},
};
use rocketmart_crds::{FlashSale, flash_sale::Difference};

use crate::{Context, OPERATOR, controllers::shop::names, telemetry};

/// The key of the list in the `ConfigMap`, which holds one JSON object per line.
const KEY: &str = "differences.jsonl";
/// A `ConfigMap` holds one MiB, its own fields included.
const LARGEST: usize = 900_000;
const LONGEST_NAME: usize = 253;

/// Writes the list into a `ConfigMap` that goes with the sale, unless it is already there. Returns the name
/// of the `ConfigMap`.
pub(super) async fn publish(
    sale: &FlashSale,
    differences: &[Difference],
    context: &Context,
) -> kube::Result<String> {
    let wanted = config_map(sale, differences);
    let name = wanted.name_any();
    let api = context.namespaced::<ConfigMap>(&sale.namespace().unwrap_or_default());
    if api.get_opt(&name).await?.is_some_and(|there| there.data == wanted.data) {
        return Ok(name);
    }
    metrics::counter!(telemetry::WRITES, "kind" => "ConfigMap", "verb" => "apply").increment(1);
    api.patch(&name, &PatchParams::apply(OPERATOR).force(), &Patch::Apply(&wanted)).await?;
    Ok(name)
}

/// The longest sale names leave no room for a suffix.
fn name(sale: &FlashSale) -> String {
    let name = format!("{}-differences", sale.name_any());
    if name.len() <= LONGEST_NAME { name } else { format!("{}-differences", sale.uid().unwrap_or_default()) }
}

fn config_map(sale: &FlashSale, differences: &[Difference]) -> ConfigMap {
    let mut list = String::new();
    for difference in differences {
        let line = serde_json::to_string(difference).unwrap_or_default();
        if list.len() + line.len() > LARGEST {
            break;
        }
        list.push_str(&line);
        list.push('\n');
    }
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name(sale)),
            namespace: sale.namespace(),
            labels: Some([(names::MANAGED_BY.to_owned(), OPERATOR.to_owned())].into()),
            owner_references: Some(sale.controller_owner_ref(&()).into_iter().collect()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(KEY.to_owned(), list)])),
        ..ConfigMap::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_list_goes_with_its_sale_and_fits() {
        let sale: FlashSale = serde_json::from_value(json!({
            "apiVersion": "rocketmart.dev/v1alpha1", "kind": "FlashSale",
            "metadata": { "name": "launch", "namespace": "mart", "uid": "u" },
            "spec": {
                "shop": "rocket", "currency": "KRW", "items": [{"sku": "A", "units": 1, "price": 1}],
                "opensAt": "2030-01-01T10:00:00Z", "closesAt": "2030-01-01T11:00:00Z",
            },
        }))
        .unwrap();
        let difference = Difference {
            kind: "state-differs".into(),
            order_id: Some("o".into()),
            sku: None,
            detail: "x".repeat(1_000),
        };
        let made = config_map(&sale, &vec![difference.clone(); 2_000]);
        assert_eq!(made.name_any(), "launch-differences");
        assert_eq!(made.owner_references()[0].name, "launch");
        let list = &made.data.unwrap()[KEY];
        assert!(list.len() <= LARGEST && list.lines().count() > 800);
        assert!(list.lines().all(|line| line.starts_with("{\"kind\":\"state-differs\"")));

        let mut long = sale;
        long.metadata.name = Some("a".repeat(253));
        assert_eq!(config_map(&long, &[difference]).name_any(), "u-differences");
    }
}
