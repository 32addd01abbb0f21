//! Everything that can be wrong in a request, for every operation: take the good request of the table, and
//! spoil one place at a time, as the operation's own description says where.

use std::collections::BTreeSet;

use reqwest::Method;
use rocketmart_shop::Answer;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::desk::Desk;
use crate::document::{self, Property};
use crate::operations::table;

/// Longer than any text that the shop accepts.
const FAR_TOO_LONG: usize = 20_000;

/// What is wrong with an answer to a bad request, if anything.
fn complaint(case: &str, answer: &Answer, field: Option<&str>) -> Option<String> {
    let problem = answer.json();
    let is_problem =
        answer.header("content-type") == "application/problem+json" && problem["code"].is_string();
    let named = problem["errors"].as_array().is_some_and(|errors| {
        errors
            .iter()
            .any(|error| field.is_none_or(|field| error["field"] == field) && error["rule"].is_string())
    });
    let refused = (400..500).contains(&answer.status);
    let good = refused && is_problem && (field.is_none() || named);
    (!good).then(|| {
        format!(
            "{}: {case}: {} {} (wanted: {})",
            answer.asked,
            answer.status,
            answer.text,
            field.unwrap_or("a problem")
        )
    })
}

#[track_caller]
fn assert_none(complaints: &[String], asked: usize) {
    assert!(complaints.is_empty(), "{} of {asked}:\n{}", complaints.len(), complaints.join("\n"));
    assert!(asked > 0, "nothing was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_holds_every_operation_that_is_served_and_no_other() {
    let (shop, services) = document::open().await;
    let served: BTreeSet<String> =
        document::operations(&shop, &services).await.into_iter().map(|operation| operation.name).collect();
    let listed: BTreeSet<String> = table().into_iter().map(|row| row.operation.to_owned()).collect();
    assert_eq!(served, listed, "left: served, right: in operations.rs");
    assert_eq!(listed.len(), table().len(), "a row twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_with_one_wrong_field_is_refused_and_the_field_is_named() {
    let desk = Desk::open().await;
    let (mut complaints, mut asked) = (Vec::new(), 0);
    for (operation, row) in &desk.entries {
        assert_eq!(
            operation.body().is_some(),
            row.good.is_some() || operation.path.ends_with("/callbacks"),
            "{}",
            operation.name
        );
        let Some(good) = &row.good else { continue };
        for property in operation.properties(good) {
            for (case, spoiled) in spoiled(good, &property) {
                let answer = desk.request(operation, row).json(&spoiled).await;
                let looked_up =
                    row.opaque.contains(&property.field.as_str()) && spoiled[&property.field].is_string();
                let case = format!("{} {case}", property.field);
                complaints.extend(complaint(&case, &answer, (!looked_up).then_some(property.field.as_str())));
                asked += 1;
            }
        }
        let mut more = good.clone();
        more["no_such_field"] = json!(1);
        let answer = desk.request(operation, row).json(&more).await;
        complaints.extend(complaint("an unknown field", &answer, Some("no_such_field")));
        for (case, body) in [("no JSON", "{\"a\":"), ("an array", "[]"), ("a number", "1"), ("null", "null")]
        {
            let answer = desk.request(operation, row).body("application/json", body).await;
            complaints.extend(complaint(case, &answer, None));
        }
        let answer = desk.request(operation, row).body("text/plain", good.to_string()).await;
        let said = complaint("text/plain", &answer, None);
        complaints.extend(
            said.or_else(|| (answer.status != 415).then(|| format!("{}: text/plain", operation.name))),
        );
        asked += 6;
    }
    assert_none(&complaints, asked);
}

/// `good` with one property spoiled, in every way that its schema allows for.
fn spoiled(good: &Value, property: &Property) -> Vec<(String, Value)> {
    let with = |value: Value| {
        let mut body = good.clone();
        let (parent, name) = property.pointer.rsplit_once('/').expect("a pointer");
        let parent = body.pointer_mut(parent).expect("the good body has it");
        match name.parse::<usize>() {
            Ok(index) => parent[index] = value,
            Err(_) => parent[name] = value,
        }
        body
    };
    let wrong_type = if property.is("string") { json!(7) } else { json!("seven") };
    let mut cases = vec![("of the wrong type".to_owned(), with(wrong_type))];
    if property.is("string") {
        cases.push(("as a list".to_owned(), with(json!(["x"]))));
        let limit = property.schema["maxLength"].as_u64().and_then(|limit| usize::try_from(limit).ok());
        let length = limit.map_or(FAR_TOO_LONG, |limit| limit + 1);
        cases.push((format!("{length} characters long"), with(json!("A".repeat(length)))));
        if property.schema["minLength"].as_u64().is_some_and(|least| least > 0) {
            cases.push(("empty".to_owned(), with(json!(""))));
        }
        cases.push(("with NUL".to_owned(), with(json!("A\u{0}B"))));
    }
    if property.is("integer") {
        if property.schema["minimum"].as_i64().is_none_or(|least| least >= 0) {
            cases.push(("negative".to_owned(), with(json!(-1))));
        }
        cases.push(("a fraction".to_owned(), with(json!(1.5))));
        cases.push(("beyond 64 bits".to_owned(), with(json!(1e300))));
    }
    if let Some(most) = property.schema["maxItems"].as_u64() {
        let first = good.pointer(&property.pointer).map_or(Value::Null, |items| items[0].clone());
        let many = vec![first; usize::try_from(most).unwrap_or_default() + 1];
        cases.push((format!("with {} items", many.len()), with(json!(many))));
    }
    if property.required {
        let mut body = good.clone();
        let (parent, name) = property.pointer.rsplit_once('/').expect("a pointer");
        let parent = body.pointer_mut(parent).and_then(Value::as_object_mut);
        parent.expect("an object").remove(name);
        cases.push(("left out".to_owned(), body));
        cases.push(("null".to_owned(), with(Value::Null)));
    }
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_and_number_of_a_body_says_its_limits() {
    let desk = Desk::open().await;
    let mut complaints = Vec::new();
    let mut asked = 0;
    for (operation, row) in &desk.entries {
        for property in operation.properties(row.good.as_ref().unwrap_or(&Value::Null)) {
            let says = |names: &[&str]| names.iter().any(|name| !property.schema[*name].is_null());
            let bounded = (!property.is("string")
                || says(&["maxLength", "pattern", "enum", "format", "const"]))
                && (!property.is("integer") || says(&["minimum"]))
                && (!property.is("array") || says(&["maxItems"]));
            let of_a_list = property.field.ends_with(']');
            if !bounded && !of_a_list && !row.opaque.contains(&property.field.as_str()) {
                complaints.push(format!("{} {}: {}", operation.name, property.field, property.schema));
            }
            asked += 1;
        }
    }
    assert_none(&complaints, asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_path_names_must_be_an_id_and_must_be_there() {
    let desk = Desk::open().await;
    let (mut complaints, mut asked) = (Vec::new(), 0);
    for (operation, row) in &desk.entries {
        if operation.parameters("path").is_empty() {
            continue;
        }
        let request = |value: &str| {
            let call = desk.request_to(operation, row, &operation.path_with(value));
            if let Some(good) = &row.good { call.json(good) } else { call }
        };
        let unknown = request(&Uuid::now_v7().to_string()).await;
        if unknown.status != row.unknown {
            complaints.push(format!("{}: {} {}", unknown.asked, unknown.status, unknown.text));
        }
        for wrong in ["seven", "00000000", "%00", "%F0%9F%9A%80", "..%2F..%2Fetc", &"x".repeat(3_000)] {
            complaints.extend(complaint(wrong, &request(wrong).await, None));
        }
        asked += 7;
    }
    assert_none(&complaints, asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_with_an_unknown_or_wrong_parameter_is_refused() {
    let desk = Desk::open().await;
    let (mut complaints, mut asked) = (Vec::new(), 0);
    for (operation, row) in &desk.entries {
        let parameters = operation.parameters("query");
        if operation.method != Method::GET || parameters.is_empty() {
            continue;
        }
        let mut wrong = vec![("no_such_parameter=1", "no_such_parameter")];
        for name in &parameters {
            wrong.extend(match name.as_str() {
                "limit" => vec![
                    ("limit=0", "limit"),
                    ("limit=101", "limit"),
                    ("limit=-1", "limit"),
                    ("limit=x", "limit"),
                ],
                "cursor" => {
                    vec![("cursor=x", "cursor"), ("cursor=bnVsbA", "cursor"), ("cursor=%00", "cursor")]
                }
                "min_price" => vec![("min_price=-1", "min_price"), ("min_price=1.5", "min_price")],
                "max_price" => vec![("max_price=-1", "max_price"), ("max_price=x", "max_price")],
                "in_stock" => vec![("in_stock=7", "in_stock")],
                "sort" => vec![("sort=sideways", "sort")],
                "seller" => vec![("seller=you", "seller")],
                _ => vec![],
            });
        }
        for (query, field) in wrong {
            let path = format!("{}?{query}", operation.path);
            let answer = desk.request_to(operation, row, &path).await;
            complaints.extend(complaint(query, &answer, Some(field)));
            asked += 1;
        }
    }
    assert_none(&complaints, asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_needs_an_idempotency_key_and_an_edit_the_version_it_was_made_for() {
    let desk = Desk::open().await;
    let mut asked = 0;
    for (operation, row) in &desk.entries {
        let headers = operation.parameters("header");
        let has = |wanted: &str| headers.iter().any(|name| name.eq_ignore_ascii_case(wanted));
        let request = || {
            let call = desk.request(operation, row);
            if let Some(good) = &row.good { call.json(good) } else { call }
        };
        if has("idempotency-key") {
            request().without_key().await.refused(400, "idempotency-key-missing");
            for wrong in ["", "with space", &"k".repeat(129)] {
                request().key(wrong).await.refused(400, "idempotency-key-invalid");
            }
            asked += 1;
        }
        if has("if-match") {
            let without =
                desk.shop.call(operation.method.clone(), &operation.path_with(&Uuid::nil().to_string()));
            let without = without.by(&desk.seller).json(row.good.as_ref().unwrap_or(&json!({}))).await;
            without.refused(428, "if-match-missing");
            asked += 1;
        }
    }
    assert!(asked >= 4, "{asked} operations with such a header");
}
