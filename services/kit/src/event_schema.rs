//! The shape of events' data as JSON Schema, and which changes of it everybody survives.
//!
//! ```text
//!   the type an event is written from ──▶ Published ──▶ docs/events/<type>.json   (accepted before)
//!                                             │ ▲                  │
//!   the type a component reads it as ──▶ Read ┘ └─ only grown? ────┘
//!                     all that it needs is promised?
//! ```
//!
//! Producers and receivers are rolled out one after the other, in any order, and topics hold events of
//! the version before. So a type of events may only grow by fields that nobody must have: anything
//! else is a new type, `….v2`.

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A type of events as its producer writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// `ce_type`.
    pub event_type: &'static str,
    pub topic: &'static str,
    /// What the key of the message is.
    pub key: &'static str,
    /// The component that writes it.
    pub producer: &'static str,
    /// JSON Schema of the data, with topic and key beside.
    pub schema: Value,
}

impl Published {
    /// Data is written from a `T`.
    pub fn of<T: ToSchema>(
        event_type: &'static str,
        topic: &'static str,
        key: &'static str,
        producer: &'static str,
    ) -> Self {
        let mut schema = schema_of::<T>();
        schema["title"] = event_type.into();
        schema["x-topic"] = topic.into();
        schema["x-key"] = key.into();
        Self { event_type, topic, key, producer, schema }
    }
}

/// A type of events as a component reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// `ce_type`.
    pub event_type: &'static str,
    pub component: &'static str,
    pub schema: Value,
}

impl Read {
    /// Data is read as a `T`.
    pub fn of<T: ToSchema>(event_type: &'static str, component: &'static str) -> Self {
        Self { event_type, component, schema: schema_of::<T>() }
    }
}

/// The schema of a type by itself.
fn schema_of<T: ToSchema + PartialSchema>() -> Value {
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

/// What in `new` would break a receiver or a producer that knows `old`; empty when nothing would.
pub fn incompatibilities(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (word, what) in [("x-topic", "topic"), ("x-key", "key")] {
        if old[word] != new[word] {
            found.push(format!("its {what} was {} and is {}", old[word], new[word]));
        }
    }
    changed(Place { root: old, here: old }, Place { root: new, here: new }, "data", &mut found);
    found
}

/// What a receiver needs and the producer does not promise; empty when it can read every event.
pub fn unmet(read: &Value, published: &Value) -> Vec<String> {
    let mut found = Vec::new();
    needed(Place { root: read, here: read }, Place { root: published, here: published }, "data", &mut found);
    found
}

/// A schema within its document.
#[derive(Clone, Copy)]
struct Place<'a> {
    root: &'a Value,
    here: &'a Value,
}

impl<'a> Place<'a> {
    /// Behind its reference, if it is one; an optional reference is a choice of null and it.
    fn resolved(self) -> Self {
        let choices = self.here["oneOf"].as_array();
        let chosen = choices.and_then(|choices| choices.iter().find(|choice| choice["type"] != "null"));
        let here = chosen.unwrap_or(self.here);
        let reference = here["$ref"].as_str();
        match reference.and_then(|reference| self.root.pointer(reference.trim_start_matches('#'))) {
            Some(target) => Self { root: self.root, here: target }.resolved(),
            None => Self { root: self.root, here },
        }
    }

    fn child(self, name: &str) -> Option<Self> {
        let here = self.here.get(name).filter(|child| child.is_object())?;
        Some(Self { root: self.root, here })
    }

    fn properties(self) -> impl Iterator<Item = (&'a str, Self)> {
        let properties = self.here["properties"].as_object().into_iter().flatten();
        properties.map(move |(name, here)| (name.as_str(), Self { root: self.root, here }))
    }

    fn property(self, name: &str) -> Option<Self> {
        self.child("properties")?.child(name)
    }

    fn requires(self, name: &str) -> bool {
        self.here["required"].as_array().is_some_and(|names| names.iter().any(|each| each == name))
    }

    /// The types it allows apart from null: an optional field may be null or left out alike.
    fn types(self) -> Vec<&'a str> {
        match &self.here["type"] {
            Value::String(one) => vec![one],
            Value::Array(several) => {
                several.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect()
            }
            _ => Vec::new(),
        }
    }

    /// The values of an enumeration; `None`: any.
    fn values(self) -> Option<&'a Vec<Value>> {
        self.here["enum"].as_array()
    }
}

/// The parts that two schemas have in common besides properties, each with its name in a path.
fn parts_of<'a>(
    one: Place<'a>,
    other: Place<'a>,
) -> impl Iterator<Item = (Place<'a>, Place<'a>, &'static str)> {
    [("items", "[]"), ("additionalProperties", "{}")]
        .into_iter()
        .filter_map(move |(word, name)| Some((one.child(word)?, other.child(word)?, name)))
}

fn changed(old: Place<'_>, new: Place<'_>, path: &str, found: &mut Vec<String>) {
    let (old, new) = (old.resolved(), new.resolved());
    if old.types() != new.types() || old.here["format"] != new.here["format"] {
        let name = |place: Place<'_>| match &place.here["format"] {
            Value::String(format) => format!("{} ({format})", place.types().join(" or ")),
            _ => place.types().join(" or "),
        };
        found.push(format!("{path}: the type was {} and is {}", name(old), name(new)));
        return;
    }
    match (old.values(), new.values()) {
        (Some(before), Some(after)) => {
            for gone in before.iter().filter(|value| !after.contains(value)) {
                found.push(format!("{path}: {gone} was among the values and is not any more"));
            }
        }
        (None, Some(after)) => {
            found.push(format!("{path}: any value was allowed and now only {}", json!(after)));
        }
        (_, None) => {}
    }
    found.extend(narrowed(old.here, new.here).map(|what| format!("{path}: {what}")));
    for (name, before) in old.properties() {
        let path = format!("{path}.{name}");
        match new.property(name) {
            None => found.push(format!("{path}: was there and is not any more")),
            Some(_) if old.requires(name) && !new.requires(name) => {
                found.push(format!("{path}: was always there and need not be any more"));
            }
            Some(_) if new.requires(name) && !old.requires(name) => {
                found.push(format!("{path}: is required, and events of the version before may lack it"));
            }
            Some(after) => changed(before, after, &path, found),
        }
    }
    for (name, _) in new.properties().filter(|(name, _)| old.property(name).is_none() && new.requires(name)) {
        found.push(format!("{path}.{name}: is new and required, and events of the version before lack it"));
    }
    for (before, after, name) in parts_of(old, new) {
        changed(before, after, &format!("{path}{name}"), found);
    }
}

/// Limits that are new, or tighter than they were.
fn narrowed(old: &Value, new: &Value) -> impl Iterator<Item = String> {
    const LOWER: [&str; 3] = ["minimum", "minLength", "minItems"];
    const UPPER: [&str; 3] = ["maximum", "maxLength", "maxItems"];
    let of = |schema: &Value, word: &str| schema[word].as_f64();
    let words = LOWER.into_iter().chain(UPPER).chain(["pattern"]);
    let tighter: Vec<&str> = words
        .filter(|word| match (of(old, word), of(new, word)) {
            (Some(before), Some(after)) if LOWER.contains(word) => after > before,
            (Some(before), Some(after)) => after < before,
            (None, Some(_)) => true,
            (_, None) => !new[*word].is_null() && new[*word] != old[*word],
        })
        .collect();
    let text = |word: &str| format!("{word} was {} and is {}", old[word], new[word]);
    tighter.into_iter().map(text).collect::<Vec<_>>().into_iter()
}

fn needed(read: Place<'_>, written: Place<'_>, path: &str, found: &mut Vec<String>) {
    let (read, written) = (read.resolved(), written.resolved());
    // The width of a number is its reader's own matter.
    let text = |place: Place<'_>| match (place.types().contains(&"string"), &place.here["format"]) {
        (true, Value::String(format)) => Some(format.clone()),
        _ => None,
    };
    let wants_other_text = text(read).is_some() && text(read) != text(written);
    if read.types() != written.types() || wants_other_text {
        found.push(format!("{path}: is read as {} and written as {}", read.here, written.here));
        return;
    }
    if let Some(known) = read.values() {
        match written.values() {
            None => found.push(format!("{path}: any value is written, and only {} are read", json!(known))),
            Some(values) => {
                for unknown in values.iter().filter(|value| !known.contains(value)) {
                    found.push(format!("{path}: {unknown} is written and cannot be read"));
                }
            }
        }
    }
    for (name, own) in read.properties() {
        let path = format!("{path}.{name}");
        match written.property(name) {
            Some(theirs) => needed(own, theirs, &path, found),
            None if !read.requires(name) => {}
            None => found.push(format!("{path}: is needed and never written")),
        }
        if read.requires(name) && written.property(name).is_some() && !written.requires(name) {
            found.push(format!("{path}: is needed and may be left out"));
        }
    }
    for (own, theirs, name) in parts_of(read, written) {
        needed(own, theirs, &format!("{path}{name}"), found);
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use uuid::Uuid;

    use super::*;

    #[derive(Serialize, ToSchema)]
    struct Paid<'a> {
        order_id: Uuid,
        lines: Vec<Line>,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<&'a str>,
        state: State,
        #[serde(flatten)]
        rest: &'a Rest,
    }

    #[derive(Serialize, ToSchema)]
    struct Line {
        sku: String,
        quantity: u32,
    }

    #[derive(Serialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only its schema is looked at")]
    enum State {
        Open,
        Done,
    }

    #[derive(Serialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    struct Rest {
        #[schema(max_length = 10)]
        currency: String,
    }

    type Change<'a> = &'a dyn Fn(&mut Value);

    fn schema() -> Value {
        Published::of::<Paid<'_>>("rocketmart.test.paid.v1", "tests", "order id", "test").schema
    }

    #[test]
    fn a_schema_stands_by_itself_and_leaves_room_to_grow() {
        let schema = schema();
        assert_eq!(schema["title"], "rocketmart.test.paid.v1");
        assert_eq!(schema["properties"]["order_id"]["format"], "uuid");
        assert_eq!(schema["properties"]["currency"]["type"], "string", "flattened");
        assert!(schema["$defs"]["Line"].is_object() && schema["$defs"]["Rest"].is_null(), "{schema:#}");
        let text = schema.to_string();
        assert!(
            !text.contains("components/schemas") && !text.contains("additionalProperties\":false"),
            "{text}"
        );
        let required = schema["required"].as_array().unwrap();
        assert!(required.contains(&json!("state")) && !required.contains(&json!("note")), "{required:?}");
    }

    #[test]
    fn only_growth_by_optional_fields_and_new_values_is_compatible() {
        let old = schema();
        let after = |change: Change<'_>| {
            let mut new = old.clone();
            change(&mut new);
            incompatibilities(&old, &new)
        };
        let harmless: [Change<'_>; 5] = [
            &|_| {},
            &|new| new["properties"]["hint"] = json!({"type": ["string", "null"]}),
            &|new| new["$defs"]["Line"]["properties"]["colour"] = json!({"type": "string"}),
            &|new| new["$defs"]["State"]["enum"].as_array_mut().unwrap().push("lost".into()),
            &|new| new["properties"]["currency"]["maxLength"] = json!(20),
        ];
        for change in harmless {
            assert_eq!(after(change), Vec::<String>::new());
        }
        let breaking: [(Change<'_>, &str); 11] = [
            (
                &|new| new["properties"]["order_id"]["type"] = json!("integer"),
                "data.order_id: the type was string (uuid)",
            ),
            (&|new| new["properties"]["order_id"]["format"] = json!("date"), "data.order_id: the type was"),
            (&|new| new["properties"] = json!({}), "data.currency: was there and is not"),
            (&|new| new["required"] = json!([]), "data.currency: was always there"),
            (&|new| new["required"].as_array_mut().unwrap().push(json!("note")), "data.note: is required"),
            (
                &|new| {
                    new["properties"]["hint"] = json!({"type": "string"});
                    new["required"].as_array_mut().unwrap().push(json!("hint"));
                },
                "data.hint: is new and required",
            ),
            (
                &|new| new["$defs"]["Line"]["properties"]["sku"]["type"] = json!("array"),
                "data.lines[].sku: the type",
            ),
            (&|new| new["$defs"]["Line"]["required"] = json!(["sku"]), "data.lines[].quantity: was always"),
            (&|new| new["$defs"]["State"]["enum"] = json!(["open"]), "data.state: \"done\" was among"),
            (
                &|new| new["properties"]["currency"]["maxLength"] = json!(3),
                "data.currency: maxLength was 10 and is 3",
            ),
            (&|new| new["x-topic"] = json!("others"), "its topic was \"tests\" and is \"others\""),
        ];
        for (change, expected) in breaking {
            let found = after(change);
            assert!(found.iter().any(|text| text.starts_with(expected)), "{expected}: {found:#?}");
        }
    }

    #[test]
    fn a_reader_may_need_less_than_is_promised_and_never_more() {
        #[derive(ToSchema)]
        #[expect(dead_code, reason = "only its schema is looked at")]
        struct Needs {
            order_id: Uuid,
            note: Option<String>,
            not_yet: Option<u32>,
            lines: Vec<Line>,
        }
        let reader = Read::of::<Needs>("rocketmart.test.paid.v1", "reader").schema;
        assert_eq!(unmet(&reader, &schema()), Vec::<String>::new());
        let table: [(Change<'_>, &str); 4] = [
            (
                &|needs| needs["required"].as_array_mut().unwrap().push("note".into()),
                "data.note: is needed and may",
            ),
            (
                &|needs| needs["required"].as_array_mut().unwrap().push("not_yet".into()),
                "data.not_yet: is needed and never",
            ),
            (
                &|needs| needs["properties"]["order_id"] = json!({"type": "integer"}),
                "data.order_id: is read as",
            ),
            (
                &|needs| needs["properties"]["state"] = json!({"type": "string", "enum": ["open"]}),
                "data.state: \"done\" is written",
            ),
        ];
        for (change, expected) in table {
            let mut needs = reader.clone();
            change(&mut needs);
            let found = unmet(&needs, &schema());
            assert!(found.len() == 1 && found[0].starts_with(expected), "{expected}: {found:#?}");
        }
    }
}
