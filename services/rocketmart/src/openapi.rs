//! The OpenAPI documents: one for each service, and one for the whole shop, merged from them.
//!
//! A schema that several services describe alike appears once in the merged document. If their schemas
//! differ, or refer to schemas that differ, each service keeps its own under its name: `order.Line` and
//! `delivery.Line`. Names depend only on the documents, so the same code gives the same document.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use rocketmart_kit::service::published;
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

const SCHEMAS: &str = "#/components/schemas/";

/// A service's name and its description.
type Service = (&'static str, fn() -> OpenApi);

/// What is described: a component with an HTTP interface of its own, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Described {
    Member,
    Catalog,
    Search,
    Order,
    Payment,
    Delivery,
    Shop,
}

impl Described {
    const SERVICES: [Service; 6] = [
        ("catalog", rocketmart_catalog::api::openapi),
        ("delivery", rocketmart_delivery::api::openapi),
        ("member", rocketmart_member::api::openapi),
        ("order", rocketmart_order::api::openapi),
        ("payment", rocketmart_payment::api::openapi),
        ("search", rocketmart_search::api::openapi),
    ];

    /// The document, as it is served.
    pub(crate) fn document(self) -> Result<String> {
        let of = match self {
            Self::Member => rocketmart_member::api::openapi,
            Self::Catalog => rocketmart_catalog::api::openapi,
            Self::Search => rocketmart_search::api::openapi,
            Self::Order => rocketmart_order::api::openapi,
            Self::Payment => rocketmart_payment::api::openapi,
            Self::Delivery => rocketmart_delivery::api::openapi,
            Self::Shop => return Ok(format!("{:#}", shop()?)),
        };
        Ok(published(of()).to_pretty_json()?)
    }
}

/// The document of the whole shop.
pub(crate) fn shop() -> Result<Value> {
    let documents =
        Described::SERVICES.into_iter().map(|(name, openapi)| (name, json!(published(openapi()))));
    merge(documents.collect())
}

fn merge(mut documents: Vec<(&str, Value)>) -> Result<Value> {
    let differing = differing_schemas(&documents);
    for (service, document) in &mut documents {
        refer_to_own(document, service, &differing);
    }
    name_operations(&mut documents)?;
    let (mut paths, mut schemas, mut security, mut tags) = (Map::new(), Map::new(), Map::new(), Vec::new());
    for (service, document) in documents {
        for (path, item) in entries(&document["paths"]) {
            ensure!(paths.insert(path.clone(), item.clone()).is_none(), "{path} is served by two services");
        }
        for (name, schema) in entries(&document["components"]["schemas"]) {
            let name = own_name(service, name, &differing);
            schemas.insert(name, schema.clone());
        }
        for (name, scheme) in entries(&document["components"]["securitySchemes"]) {
            let known = security.insert(name.clone(), scheme.clone());
            ensure!(
                known.is_none_or(|known| known == *scheme),
                "services disagree about security scheme {name}"
            );
        }
        tags.extend(document["tags"].as_array().into_iter().flatten().cloned());
    }
    paths.sort_keys();
    schemas.sort_keys();
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Rocket Mart",
            "description": "Everything that buyers and sellers do, behind the shop's one entrance.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "version": env!("CARGO_PKG_VERSION"),
        },
        "servers": [{"url": "/", "description": "The shop's entrance"}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": security},
        "tags": tags,
    }))
}

fn entries(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten()
}

/// Names that services use for different schemas, even if only the schemas they refer to differ.
fn differing_schemas(documents: &[(&str, Value)]) -> BTreeSet<String> {
    let mut by_name: BTreeMap<&String, Vec<&Value>> = BTreeMap::new();
    for (_, document) in documents {
        for (name, schema) in entries(&document["components"]["schemas"]) {
            by_name.entry(name).or_default().push(schema);
        }
    }
    by_name.retain(|_, schemas| schemas.len() > 1);
    let mut differing = BTreeSet::new();
    loop {
        let before = differing.len();
        for (name, schemas) in &by_name {
            let differ = schemas.iter().any(|schema| *schema != schemas[0]);
            if differ || refers_to_any(schemas[0], &differing) {
                differing.insert((*name).clone());
            }
        }
        if differing.len() == before {
            return differing;
        }
    }
}

fn refers_to_any(schema: &Value, names: &BTreeSet<String>) -> bool {
    match schema {
        Value::Object(object) => object.iter().any(|(key, value)| match value.as_str() {
            Some(text) if key == "$ref" => {
                text.strip_prefix(SCHEMAS).is_some_and(|name| names.contains(name))
            }
            _ => refers_to_any(value, names),
        }),
        Value::Array(values) => values.iter().any(|value| refers_to_any(value, names)),
        _ => false,
    }
}

/// None of our schemas has a dot in its name, so these names are free.
fn own_name(service: &str, name: &str, differing: &BTreeSet<String>) -> String {
    if differing.contains(name) { format!("{service}.{name}") } else { name.to_owned() }
}

fn refer_to_own(value: &mut Value, service: &str, differing: &BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                let referred = value.as_str().filter(|_| key == "$ref");
                match referred.and_then(|text| text.strip_prefix(SCHEMAS)) {
                    Some(name) => *value = format!("{SCHEMAS}{}", own_name(service, name, differing)).into(),
                    None => refer_to_own(value, service, differing),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| refer_to_own(value, service, differing)),
        _ => {}
    }
}

/// Puts the service's name before an operation's name if another service uses that name too.
fn name_operations(documents: &mut [(&str, Value)]) -> Result<()> {
    let mut users: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (service, document) in documents.iter_mut() {
        each_operation(document, |id| users.entry(id.clone()).or_default().push(service));
    }
    if let Some((id, of)) = users.iter().find(|(_, of)| of.windows(2).any(|two| two[0] == two[1])) {
        bail!("{} has two operations with the id {id}", of[0]);
    }
    for (service, document) in documents {
        each_operation(document, |id| {
            if users.get(id).is_some_and(|of| of.len() > 1) {
                *id = format!("{service}_{id}");
            }
        });
    }
    Ok(())
}

fn each_operation(document: &mut Value, mut with: impl FnMut(&mut String)) {
    let items = document["paths"].as_object_mut().into_iter().flatten();
    let operations = items.flat_map(|(_, item)| item.as_object_mut().into_iter().flatten());
    for (_, operation) in operations {
        if let Some(Value::String(id)) = operation.get_mut("operationId") {
            with(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(path: &str, id: &str, schemas: &Value) -> Value {
        let answer = json!({"$ref": "#/components/schemas/Parcel"});
        json!({
            "paths": {path: {"get": {"operationId": id, "responses": {"200": {"content": {"application/json": {
                "schema": answer
            }}}}}}},
            "components": {"schemas": schemas, "securitySchemes": {"bearer": {"type": "http"}}},
        })
    }

    fn schemas(quantity: &str) -> Value {
        json!({
            "Parcel": {"properties": {"lines": {"items": {"$ref": "#/components/schemas/Line"}}}},
            "Line": {"properties": {"quantity": {"type": quantity}}},
            "Problem": {"type": "object"},
        })
    }

    #[test]
    fn what_differs_goes_by_its_service_with_all_that_refers_to_it_and_the_rest_is_shared() {
        let merged = merge(vec![
            ("here", document("/a", "show", &schemas("integer"))),
            ("there", document("/b", "show", &schemas("string"))),
            (
                "elsewhere",
                document("/c", "look", &json!({"Parcel": {"type": "string"}, "Problem": {"type": "object"}})),
            ),
        ])
        .unwrap();
        let names: Vec<&String> = entries(&merged["components"]["schemas"]).map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["Problem", "elsewhere.Parcel", "here.Line", "here.Parcel", "there.Line", "there.Parcel"]
        );
        let of = |path: &str| &merged["paths"][path]["get"];
        assert_eq!(
            of("/b")["responses"]["200"]["content"]["application/json"]["schema"]["$ref"],
            "#/components/schemas/there.Parcel"
        );
        let lines = &merged["components"]["schemas"]["there.Parcel"]["properties"]["lines"]["items"]["$ref"];
        assert_eq!(lines, "#/components/schemas/there.Line");
        let ids = ["/a", "/b", "/c"].map(|path| of(path)["operationId"].as_str().unwrap().to_owned());
        assert_eq!(ids, ["here_show", "there_show", "look"]);
    }

    #[test]
    fn what_cannot_be_merged_is_an_error() {
        let empty = json!({});
        let twice = vec![("here", document("/a", "x", &empty)), ("there", document("/a", "y", &empty))];
        assert!(merge(twice).unwrap_err().to_string().contains("/a is served by two"));
        let mut ambiguous = document("/a", "x", &empty);
        ambiguous["paths"]["/b"] = ambiguous["paths"]["/a"].clone();
        assert!(
            merge(vec![("here", ambiguous)]).unwrap_err().to_string().contains("here has two operations")
        );
    }

    #[test]
    fn the_document_of_the_shop_has_every_operation_and_refers_to_nothing_that_is_not_there() {
        let merged = shop().unwrap();
        let paths: usize = Described::SERVICES.iter().map(|(_, openapi)| openapi().paths.paths.len()).sum();
        assert_eq!(entries(&merged["paths"]).count(), paths);
        let text = merged.to_string();
        for referred in text.split(&format!("\"{SCHEMAS}")).skip(1) {
            let name = referred.split('"').next().unwrap();
            assert!(merged["components"]["schemas"][name].is_object(), "{name}");
        }
        let mut ids = BTreeSet::new();
        each_operation(&mut merged.clone(), |id| assert!(ids.insert(id.clone()), "{id} is there twice"));
        assert!(ids.contains("purchase"), "{ids:?}");
    }
}
