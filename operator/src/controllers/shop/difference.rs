//! Whether a live object is what was applied.
//!
//! We write what differs. Either we want another value than we last applied, whose digest is in an
//! annotation; or somebody has since changed one of our fields. The server does not return every value as
//! it was sent: it writes quantities in its own form and leaves out what is empty. Those count as equal.
//! What others have added beside our fields is theirs, and an apply would not remove it.

use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::quantity;

const DIGEST: &str = "rocketmart.dev/applied-digest";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Difference {
    None,
    /// It does not exist.
    Absent,
    /// We want another value than we last applied.
    Changed,
    /// We still want what we last applied, but somebody else has changed it.
    Drift,
}

/// The object, with its own digest in an annotation.
pub(super) fn with_digest<K: Serialize>(object: &K) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(object)?;
    let digest = hex::encode(&Sha256::digest(value.to_string())[..16]);
    value["metadata"]["annotations"][DIGEST] = digest.into();
    Ok(value)
}

pub(super) fn difference<K: Resource + Serialize>(wanted: &Value, live: &K) -> Difference {
    let digest = &wanted["metadata"]["annotations"][DIGEST];
    if live.annotations().get(DIGEST).map(String::as_str) != digest.as_str() {
        return Difference::Changed;
    }
    match serde_json::to_value(live) {
        Ok(live) if contains(&live, wanted) => Difference::None,
        _ => Difference::Drift,
    }
}

/// Whether `live` has everything in `wanted`. Objects may have more fields (defaults, other owners). Lists
/// whose items have separate owners may have more items; other lists may not.
fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| {
            match live.get(name) {
                Some(live) if QUANTITIES.contains(&name.as_str()) => holds_quantities(live, wanted),
                Some(live) if QUANTITY.contains(&name.as_str()) => are_equal(live, wanted),
                Some(live) => match KEYED.iter().find(|(list, _)| list == name) {
                    Some((_, key)) => contains_items(live, wanted, key),
                    None => contains(live, wanted),
                },
                // The server leaves out what is empty.
                None => is_empty(wanted),
            }
        }),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| contains(live, wanted))
        }
        _ => live == wanted,
    }
}

/// Fields whose values are all quantities: the server writes `1024Mi` as `1Gi`.
const QUANTITIES: [&str; 2] = ["limits", "requests"];
/// Fields that are themselves a quantity.
const QUANTITY: [&str; 2] = ["divisor", "sizeLimit"];

/// Lists that the server merges item by item, with the field that identifies an item.
const KEYED: [(&str, &str); 8] = [
    ("containers", "name"),
    ("env", "name"),
    ("imagePullSecrets", "name"),
    ("initContainers", "name"),
    ("ownerReferences", "uid"),
    ("ports", "name"),
    ("volumeMounts", "mountPath"),
    ("volumes", "name"),
];

fn contains_items(live: &Value, wanted: &Value, key: &str) -> bool {
    let (Some(here), Some(asked)) = (live.as_array(), wanted.as_array()) else {
        return contains(live, wanted);
    };
    // Other kinds have lists of the same name without that field.
    if asked.iter().chain(here).any(|item| item[key].is_null()) {
        return contains(live, wanted);
    }
    asked.iter().all(|wanted| here.iter().any(|live| live[key] == wanted[key] && contains(live, wanted)))
}

fn holds_quantities(live: &Value, wanted: &Value) -> bool {
    let (Value::Object(live), Value::Object(wanted)) = (live, wanted) else { return live == wanted };
    wanted.iter().all(|(name, wanted)| live.get(name).is_some_and(|live| are_equal(live, wanted)))
}

fn are_equal(live: &Value, wanted: &Value) -> bool {
    match (live.as_str(), wanted.as_str()) {
        (Some(live), Some(wanted)) => quantity::are_equal(live, wanted),
        _ => live == wanted,
    }
}

/// Whether a value counts as absent, so that the server may leave it out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        // Without them, the opposite may hold.
        Value::Bool(_) | Value::Number(_) => false,
        Value::String(value) => value.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn config(data: &Value) -> ConfigMap {
        serde_json::from_value(json!({ "metadata": { "name": "config" }, "data": data })).unwrap()
    }

    #[test]
    fn an_object_as_it_was_applied_is_not_written_again() {
        let wanted = with_digest(&config(&json!({ "a": "1" }))).unwrap();
        let mut live = wanted.clone();
        live["metadata"]["resourceVersion"] = "7".into();
        live["metadata"]["labels"] = json!({ "somebody": "else" });
        let live: ConfigMap = serde_json::from_value(live).unwrap();
        assert_eq!(difference(&wanted, &live), Difference::None);
    }

    #[test]
    fn a_new_value_is_a_change_and_a_foreign_hand_is_drift() {
        let wanted = with_digest(&config(&json!({ "a": "1" }))).unwrap();
        let other: ConfigMap =
            serde_json::from_value(with_digest(&config(&json!({ "a": "2" }))).unwrap()).unwrap();
        assert_eq!(difference(&wanted, &other), Difference::Changed);
        let mut tampered = wanted.clone();
        tampered["data"]["a"] = "2".into();
        let tampered: ConfigMap = serde_json::from_value(tampered).unwrap();
        assert_eq!(difference(&wanted, &tampered), Difference::Drift);
    }

    #[test]
    fn k3_quantities_are_compared_as_numbers() {
        let resources = |cpu: &str, memory: &str| json!({ "resources": { "limits": { "memory": memory }, "requests": { "cpu": cpu } } });
        assert!(contains(&resources("500m", "1Gi"), &resources("0.5", "1024Mi")));
        assert!(contains(&resources("1", "1G"), &resources("1000m", "1e9")));
        assert!(!contains(&resources("500m", "1Gi"), &resources("0.5", "1023Mi")));
        assert!(!contains(&resources("500m", "1Gi"), &json!({ "resources": { "limits": { "cpu": "1" } } })));
    }

    #[test]
    fn k3_what_the_server_leaves_out_is_no_drift() {
        let live = json!({ "env": [{ "name": "A" }], "affinity": { "nodeAffinity": {} } });
        let wanted = json!({ "env": [{ "name": "A", "value": "" }], "claims": [], "none": null,
            "affinity": { "nodeAffinity": { "preferred": [] } } });
        assert!(contains(&live, &wanted));
        for more in [json!({ "value": "b" }), json!({ "mount": false }), json!({ "replicas": 0 })] {
            assert!(!contains(&json!({}), &more), "{more}");
        }
    }

    #[test]
    fn k3_an_item_that_somebody_else_owns_is_left_alone() {
        let ours = json!({ "env": [{ "name": "A", "value": "1" }] });
        let theirs = json!({ "env": [{ "name": "B", "value": "2" }, { "name": "A", "value": "1" }] });
        assert!(contains(&theirs, &ours));
        assert!(!contains(&json!({ "env": [{ "name": "A", "value": "2" }] }), &ours));
        assert!(!contains(&json!({ "env": [] }), &ours));
        let policy = |ports: serde_json::Value| json!({ "ports": ports });
        assert!(!contains(&policy(json!([{ "port": 1 }, { "port": 2 }])), &policy(json!([{ "port": 1 }]))));
    }

    #[test]
    fn an_item_added_to_a_list_by_hand_is_drift() {
        assert!(contains(&json!({ "a": [{ "b": 1, "defaulted": 2 }] }), &json!({ "a": [{ "b": 1 }] })));
        assert!(!contains(&json!({ "a": [{ "b": 1 }, { "b": 2 }] }), &json!({ "a": [{ "b": 1 }] })));
        assert!(!contains(&json!({ "a": 2 }), &json!({ "a": 1 })));
    }
}
