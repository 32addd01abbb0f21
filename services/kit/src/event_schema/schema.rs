//! The schema of a Rust type, made to stand by itself and to leave room to grow.

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of a type by itself.
pub(super) fn schema_of<T: ToSchema + PartialSchema>() -> Value {
    let mut parts = Vec::new();
    T::schemas(&mut parts);
    let parts: Map<String, Value> = parts.into_iter().map(|(name, part)| (name, json!(part))).collect();
    let mut schema = json!(T::schema());
    simplify(&mut schema, &parts);
    let mut definitions = Map::new();
    define(&schema.to_string(), &parts, &mut definitions);
    if let Some(object) = schema.as_object_mut() {
        object.insert("$schema".to_owned(), DIALECT.into());
        // The first lines of a type's documentation speak to programmers here.
        object.remove("description");
        if !definitions.is_empty() {
            object.insert("$defs".to_owned(), definitions.into());
        }
    }
    serde_json::from_str(&schema.to_string().replace(REFERENCE, "#/$defs/")).unwrap_or_default()
}

const REFERENCE: &str = "#/components/schemas/";

/// Adds the parts that `text` refers to, and what those refer to.
fn define(text: &str, parts: &Map<String, Value>, definitions: &mut Map<String, Value>) {
    for (name, part) in parts {
        if text.contains(&format!("\"{REFERENCE}{name}\"")) && !definitions.contains_key(name) {
            let mut part = part.clone();
            simplify(&mut part, parts);
            definitions.insert(name.clone(), part.clone());
            define(&part.to_string(), parts, definitions);
        }
    }
}

/// Data is open, since it may grow; and what it is made of by flattening is written as one object.
fn simplify(schema: &mut Value, parts: &Map<String, Value>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(combined)) = object.remove("allOf") {
                let mut merged = json!({"type": "object", "properties": {}, "required": []});
                for part in combined {
                    merge(&mut merged, resolved(&part, parts));
                }
                *object = merged.as_object().cloned().unwrap_or_default();
            }
            if object.get("additionalProperties") == Some(&Value::Bool(false)) {
                object.remove("additionalProperties");
            }
            object.remove("example");
            object.values_mut().for_each(|value| simplify(value, parts));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| simplify(value, parts)),
        _ => {}
    }
}

fn merge(whole: &mut Value, part: &Value) {
    if let (Some(all), Some(more)) = (whole["properties"].as_object_mut(), part["properties"].as_object()) {
        all.extend(more.clone());
    }
    if let (Some(all), Some(more)) = (whole["required"].as_array_mut(), part["required"].as_array()) {
        all.extend(more.clone());
    }
}

fn resolved<'a>(schema: &'a Value, parts: &'a Map<String, Value>) -> &'a Value {
    let name = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix(REFERENCE));
    name.and_then(|name| parts.get(name)).unwrap_or(schema)
}
