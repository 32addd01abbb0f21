//! The CRD manifests as files of the chart.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{FlashSale, Shop};

const HEADER: &str = "# Generated from the types in crds/ by `cargo run -p rocketmart-crds --bin crdgen`.\n";

/// All definitions, in the order in which they are installed.
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [Shop::crd(), FlashSale::crd()]
}

/// File name (below the chart's `crds/`) and YAML text of each definition.
pub fn files() -> Result<Vec<(String, String)>, serde_norway::Error> {
    definitions()
        .iter()
        .map(|definition| {
            let name = format!("{}.yaml", definition.spec.names.plural);
            Ok((name, format!("{HEADER}{}", serde_norway::to_string(definition)?)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_manifests_in_the_chart_are_those_of_the_types() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/rocketmart/crds");
        for (name, text) in files().unwrap() {
            let in_chart = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
            assert!(in_chart == text, "charts/rocketmart/crds/{name} is out of date: run crdgen");
        }
    }

    /// `kubectl apply` without `--server-side` keeps a copy of the object in an annotation, whose
    /// size the API server limits to 256 KiB.
    #[test]
    fn a_manifest_fits_into_the_annotation_of_a_client_side_apply() {
        for definition in definitions() {
            let size = serde_json::to_string(&definition).unwrap().len();
            assert!(size < 256 * 1024, "{} takes {size} bytes", definition.spec.names.plural);
        }
    }

    #[test]
    fn every_field_of_ours_has_a_description() {
        let mut missing = Vec::new();
        for definition in definitions() {
            let schema = definition.spec.versions[0].schema.as_ref().unwrap();
            let schema = serde_json::to_value(schema.open_api_v3_schema.as_ref().unwrap()).unwrap();
            undescribed(&schema, &definition.spec.names.kind, &mut missing);
        }
        assert!(missing.is_empty(), "without a description: {missing:#?}");
    }

    fn undescribed(schema: &Value, path: &str, missing: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if field["description"].as_str().is_none_or(str::is_empty) {
                missing.push(path.clone());
            }
            undescribed(field, &path, missing);
        }
        if schema["items"].is_object() {
            undescribed(&schema["items"], &format!("{path}[]"), missing);
        }
        if schema["additionalProperties"].is_object() {
            undescribed(&schema["additionalProperties"], &format!("{path}[*]"), missing);
        }
    }
}
