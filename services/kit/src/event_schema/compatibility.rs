//! What two schemas mean for each other: an older one and a newer one of the same events, or what is written
//! and what is read.

use serde_json::{Value, json};

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
