//! Odd values for each field of a definition, made from its schema.

use rocketmart_crds::manifest;
use serde_json::{Map, Value, json};

/// A value to try, and where it goes in the object.
#[derive(Clone, Debug)]
pub struct Try {
    /// JSON pointer of the field.
    pub pointer: String,
    /// `None` removes the field.
    pub value: Option<Value>,
}

impl Try {
    /// The name of the field, as a refusal has to spell it.
    pub fn field(&self) -> &str {
        self.pointer.rsplit('/').find(|part| part.parse::<usize>().is_err()).unwrap()
    }

    pub fn put_into(&self, object: &mut Value) {
        let (parent, key) = self.pointer.rsplit_once('/').unwrap();
        let parent = object.pointer_mut(parent).unwrap();
        match (&self.value, parent) {
            (Some(value), Value::Array(items)) => items[key.parse::<usize>().unwrap()] = value.clone(),
            (Some(value), parent) => parent[key] = value.clone(),
            (None, parent) => _ = parent.as_object_mut().unwrap().remove(key),
        }
    }
}

/// Every odd value for the fields below `spec` whose parents are in the `plain` object.
pub fn tries(kind: &str, plain: &Value) -> Vec<Try> {
    let definitions = manifest::definitions();
    let definition = definitions.iter().find(|definition| definition.spec.names.kind == kind).unwrap();
    let definition = serde_json::to_value(definition).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut tries = Vec::new();
    below(schema, "/spec", plain, &mut tries);
    tries
}

fn below(schema: &Value, pointer: &str, plain: &Value, tries: &mut Vec<Try>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        of_field(field, &format!("{pointer}/{name}"), plain, tries);
    }
    // A map: use the keys that the plain object has.
    let of_keys = &schema["additionalProperties"];
    for key in plain.pointer(pointer).and_then(Value::as_object).into_iter().flat_map(Map::keys) {
        if of_keys.is_object() {
            of_field(of_keys, &format!("{pointer}/{key}"), plain, tries);
        }
    }
}

fn of_field(field: &Value, pointer: &str, plain: &Value, tries: &mut Vec<Try>) {
    let mut add = |value| tries.push(Try { pointer: pointer.to_owned(), value });
    add(None);
    of_any_type().into_iter().chain(of_type(field)).for_each(|value| add(Some(value)));
    let there = plain.pointer(pointer);
    if let Some(first) = there.and_then(|list| list.get(0)) {
        longer(first, field).for_each(|value| add(Some(value)));
        below(&field["items"], &format!("{pointer}/0"), plain, tries);
    }
    if there.is_some_and(Value::is_object) {
        below(field, pointer, plain, tries);
    }
}

fn of_any_type() -> Vec<Value> {
    vec![json!(null), json!(true), json!(0), json!(1.5), json!("5"), json!([]), json!({}), json!([[]])]
}

fn of_type(field: &Value) -> Vec<Value> {
    match field["type"].as_str() {
        Some("string") => texts(field["maxLength"].as_u64().unwrap_or(64).min(4_096)),
        Some("integer") => numbers(field),
        Some("object") => maps(),
        _ => vec![json!("true"), json!("on")],
    }
}

fn texts(longest: u64) -> Vec<Value> {
    let longest = usize::try_from(longest).unwrap();
    let odd = [
        "",
        " ",
        ".",
        "..",
        "../..",
        "a/b",
        "a?b=c",
        "a#b",
        "a%2fb",
        "%00",
        "-",
        "-a",
        "a-",
        "a.b",
        "1a",
        "A",
        "a b",
        "a\nb",
        "a\0b",
        "\u{202e}a",
        "\u{200b}",
        "\u{feff}a",
        "e\u{301}",
        "한국",
        "ß",
        "🚀",
        "null",
        "{{shop}}",
        "$(id)",
        "KRW ",
        "krw",
        "XXX",
        "KWR",
        "EUR",
    ];
    let times = [
        "2030-01-01",
        "2030-01-01T10:00:00",
        "2030-01-01t10:00:00z",
        "2030-01-01 10:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2000-01-01T00:00:00Z",
        "2029-02-29T00:00:00Z",
        "2032-02-29T00:00:00Z",
        "2030-06-30T23:59:60Z",
        "2030-01-01T24:00:00Z",
        "2030-01-01T10:00:00.1234567890123Z",
        "2030-01-01T10:00:00.999999999Z",
        "2030-01-01T10:00:00+14:59",
        "2030-01-01T10:00:00+25:00",
        "2099-12-31T23:59:59.999999999Z",
        "2100-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "+12030-01-01T00:00:00Z",
    ];
    let long = [longest, longest + 1, 100_000].map(|length| "a".repeat(length));
    odd.iter().chain(&times).map(|text| json!(text)).chain(long.map(Value::from)).collect()
}

fn numbers(field: &Value) -> Vec<Value> {
    let limits = ["minimum", "maximum"].map(|limit| field[limit].as_f64());
    #[expect(clippy::cast_possible_truncation, reason = "the limits are whole")]
    let around = limits.into_iter().flatten().flat_map(|limit| [-1, 0, 1].map(|by| json!(limit as i64 + by)));
    let odd =
        [json!(-1), json!(i32::MAX), json!(1_i64 << 53), json!(i64::MAX), json!(i64::MIN), json!(u64::MAX)];
    around.chain(odd).chain([json!(5.0), json!(1e30), json!(-0.0)]).collect()
}

fn maps() -> Vec<Value> {
    let of = |key: &str, value: Value| Value::Object(Map::from_iter([(key.to_owned(), value)]));
    // The API server reports each in a header, and its client reads a hundred headers at most.
    let many: Map<String, Value> = (0..50).map(|number| (format!("key-{number}"), json!(1))).collect();
    vec![
        of("", json!(1)),
        of("../..", json!(1)),
        of("order", json!(0)),
        of("order", json!(1)),
        of("order", json!(null)),
        of("order", json!({})),
        of("order", json!(1001)),
        of("order\0", json!(1)),
        of("\u{202e}", json!(1)),
        Value::Object(many),
    ]
}

/// Lists of other lengths.
fn longer<'a>(one: &'a Value, field: &Value) -> impl Iterator<Item = Value> + use<'a> {
    let most = usize::try_from(field["maxItems"].as_u64().unwrap_or(100)).unwrap();
    [2, most + 1].into_iter().map(move |count| Value::Array(vec![one.clone(); count]))
}
