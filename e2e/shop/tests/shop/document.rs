//! The OpenAPI documents that the services serve, in the form that tests need.

use rocketmart_harness::stack::Component;
use rocketmart_shop::{Place, Shop, stack};
use serde_json::Value;

/// The components that serve an API.
pub(crate) const SERVICES: [Component; 6] = [
    Component::Catalog,
    Component::Delivery,
    Component::Member,
    Component::Order,
    Component::Payment,
    Component::Search,
];

/// One operation of one service.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    /// `POST /api/v1/products`
    pub name: String,
    pub method: reqwest::Method,
    pub path: String,
    pub description: Value,
    document: Value,
}

/// A property of a request body, by the path that a problem names it with.
#[derive(Debug, Clone)]
pub(crate) struct Property {
    /// `variants[0].price`
    pub field: String,
    /// `/variants/0/price`
    pub pointer: String,
    pub schema: Value,
    pub required: bool,
}

/// A client of the shared stack, and the address of each service.
pub(crate) async fn open() -> (Shop, Vec<String>) {
    tokio::task::spawn_blocking(|| {
        let stack = stack().expect("a shop on loopback").blocking_lock();
        (Shop::at(Place::of(&stack)), SERVICES.map(|service| stack.url(service)).to_vec())
    })
    .await
    .expect("no panic")
}

/// Every operation of every service, from the documents that they serve now.
pub(crate) async fn operations(shop: &Shop, services: &[String]) -> Vec<Operation> {
    let mut operations = Vec::new();
    for service in services {
        let document =
            shop.outside(reqwest::Method::GET, &format!("{service}/openapi.json")).await.expect(200);
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, description) in item.as_object().expect("methods") {
                let method = method.to_uppercase();
                operations.push(Operation {
                    name: format!("{method} {path}"),
                    method: method.parse().expect("a method"),
                    path: path.clone(),
                    description: description.clone(),
                    document: document.clone(),
                });
            }
        }
    }
    operations
}

impl Operation {
    /// The schema of the JSON body, if there is one.
    pub(crate) fn body(&self) -> Option<Value> {
        let schema = &self.description["requestBody"]["content"]["application/json"]["schema"];
        (!schema.is_null()).then(|| self.resolved(schema))
    }

    /// Whether it needs an access token.
    pub(crate) fn needs_token(&self) -> bool {
        let ways = self.description["security"].as_array();
        ways.is_some_and(|ways| {
            !ways.iter().any(|way| way.as_object().is_some_and(serde_json::Map::is_empty))
        })
    }

    /// Whether it accepts an access token.
    pub(crate) fn takes_token(&self) -> bool {
        self.description["security"].is_array()
    }

    /// The names of its parameters in `path`, `query` or `header`.
    pub(crate) fn parameters(&self, place: &str) -> Vec<String> {
        let all = self.description["parameters"].as_array();
        all.into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == place)
            .filter_map(|parameter| parameter["name"].as_str().map(str::to_owned))
            .collect()
    }

    /// The properties that the body `good` has or could have, at every depth of `good`.
    pub(crate) fn properties(&self, good: &Value) -> Vec<Property> {
        let mut found = Vec::new();
        if let Some(schema) = self.body() {
            self.descend(&schema, good, ("", ""), &mut found);
        }
        found
    }

    fn descend(&self, schema: &Value, good: &Value, at: (&str, &str), found: &mut Vec<Property>) {
        let (field, pointer) = at;
        let required = |name: &str| {
            schema["required"].as_array().is_some_and(|names| names.iter().any(|each| each == name))
        };
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let property = self.resolved(property);
            let own = Property {
                field: if field.is_empty() { name.clone() } else { format!("{field}.{name}") },
                pointer: format!("{pointer}/{name}"),
                required: required(name),
                schema: property.clone(),
            };
            let inside = &good[name];
            self.descend(&property, inside, (&own.field, &own.pointer), found);
            if inside.as_array().is_some_and(|items| !items.is_empty()) {
                let item = self.resolved(&property["items"]);
                let (field, pointer) = (format!("{}[0]", own.field), format!("{}/0", own.pointer));
                if item["type"] == "object" {
                    self.descend(&item, &inside[0], (&field, &pointer), found);
                } else {
                    found.push(Property { field, pointer, required: false, schema: item });
                }
            }
            found.push(own);
        }
    }

    /// A schema with its reference followed and the alternative `null` left out.
    fn resolved(&self, schema: &Value) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            let pointer = reference.trim_start_matches('#');
            return self.resolved(self.document.pointer(pointer).expect("what a reference refers to"));
        }
        for combination in ["oneOf", "anyOf", "allOf"] {
            if let Some(choices) = schema[combination].as_array()
                && let Some(choice) = choices.iter().find(|choice| choice["type"] != "null")
                && choices.len() <= 2
            {
                return self.resolved(choice);
            }
        }
        schema.clone()
    }
}

impl Property {
    /// Whether its type is this one, or this one besides `null`.
    pub(crate) fn is(&self, kind: &str) -> bool {
        match &self.schema["type"] {
            Value::Array(kinds) => kinds.iter().any(|each| each == kind),
            one => one == kind,
        }
    }
}
