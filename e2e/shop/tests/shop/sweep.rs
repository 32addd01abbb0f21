//! What no operation may do, whatever its description lets a client send: a request of the largest size made
//! of the smallest items, texts that nobody can see or that reverse the text around them, cursors that
//! somebody took apart and put together again.
//!
//! We check every answer, whatever the request: it is not a server error, it has a bounded size, it comes in
//! time, and it costs its process little memory. `cargo xtask test --long` tries everything everywhere;
//! otherwise the sweep tries a part of the hostile values.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::Method;
use rocketmart_contracts::route::component_of;
use rocketmart_harness::stack::Component;
use rocketmart_shop::{Answer, Call, stack};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::desk::Desk;
use crate::document::{Operation, Property};
use crate::operations::Row;

mod hostile;
mod memory;

/// The largest answer, in bytes.
const ANSWER: usize = 64 * 1024;
/// The largest body that a service reads, in bytes.
const BODY: usize = 1024 * 1024;
/// The time limit for one answer, with other tests on the same two cores.
const TIME: Duration = Duration::from_secs(20);
/// How much a process may grow, in bytes: several times the largest body, and what other tests need from it
/// meanwhile (one password hash takes 19 MiB).
const MEMORY: u64 = 192 * 1024 * 1024;

/// Whether to try everything.
pub(crate) fn long() -> bool {
    std::env::var_os("LONG_TESTS").is_some()
}

/// A part of `all`, the same each time; everything if the run is a long one.
fn part<T>(all: Vec<T>, every: usize) -> Vec<T> {
    let every = if long() { 1 } else { every };
    all.into_iter().step_by(every).collect()
}

#[derive(Default)]
struct Findings {
    complaints: Vec<String>,
    asked: usize,
}

impl Findings {
    /// Sends a request, and notes what an answer must never be.
    async fn ask(&mut self, case: &str, call: Call) -> Option<Answer> {
        self.asked += 1;
        let began = Instant::now();
        let answer = match call.send().await {
            Ok(answer) => answer,
            Err(error) => {
                self.complaints.push(format!("{case}: no answer: {error:?}"));
                return None;
            }
        };
        let took = began.elapsed();
        let mut note = |what: String| self.complaints.push(format!("{}: {case}: {what}", answer.asked));
        if answer.status >= 500 {
            note(format!("{} {}", answer.status, answer.text));
        }
        if answer.text.len() > ANSWER {
            note(format!("{} with {} bytes", answer.status, answer.text.len()));
        }
        if took > TIME {
            note(format!("{} after {took:?}", answer.status));
        }
        Some(answer)
    }

    /// The same for a request that must be refused.
    async fn refused(&mut self, case: &str, call: Call) {
        if let Some(answer) = self.ask(case, call).await
            && !(400..500).contains(&answer.status)
        {
            self.complaints.push(format!("{}: {case}: {} {}", answer.asked, answer.status, answer.text));
        }
    }

    #[track_caller]
    fn assert_none(&self) {
        let Self { complaints, asked } = self;
        assert!(complaints.is_empty(), "{} of {asked}:\n{}", complaints.len(), complaints.join("\n"));
        assert!(*asked > 0, "nothing was asked");
    }
}

/// The component that answers an operation.
fn component(operation: &Operation) -> Component {
    component_of(&operation.path).expect("every operation is somebody's").into()
}

async fn process_of(operation: &Operation) -> u32 {
    let component = component(operation);
    let pid = move || stack().expect("a shop on loopback").blocking_lock().pid(component, 0);
    tokio::task::spawn_blocking(pid).await.expect("no panic").expect("it runs")
}

/// The operations with a body: the good body and its properties.
fn bodies(desk: &Desk) -> impl Iterator<Item = (&Operation, &Row, &Value, Vec<Property>)> {
    desk.entries.iter().filter_map(|(operation, row)| {
        let good = row.good.as_ref()?;
        Some((operation, row, good, operation.properties(good)))
    })
}

/// `good` with another value in one place.
fn with(good: &Value, pointer: &str, value: Value) -> Value {
    let mut body = good.clone();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let parent = body.pointer_mut(parent).expect("the good body has it");
    match name.parse::<usize>() {
        Ok(index) => parent[index] = value,
        Err(_) => parent[name] = value,
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_costs_much_more_than_its_size_h1() {
    let desk = Desk::open().await;
    let mut findings = Findings::default();
    for (operation, row, good, properties) in bodies(&desk) {
        let process = process_of(operation).await;
        let before = memory::resident(process);
        memory::forget_peak(process);
        for property in properties.iter().filter(|property| property.is("array")) {
            let own = good.pointer(&property.pointer).map_or(Value::Null, |items| items[0].clone());
            for item in hostile::items(&own) {
                let body = hostile::filled(&with(good, &property.pointer, json!("@")), "\"@\"", &item, BODY);
                let case = format!("{} full of {item:.40}", property.field);
                findings.refused(&case, desk.request(operation, row).body("application/json", body)).await;
            }
        }
        for (case, body) in hostile::whole_bodies(good, BODY) {
            findings.refused(case, desk.request(operation, row).body("application/json", body)).await;
        }
        for property in part(properties, 4) {
            let body = with(good, &property.pointer, json!("@"));
            for (case, value) in hostile::large_values(BODY - body.to_string().len()) {
                let body = body.to_string().replacen("\"@\"", &value, 1);
                let case = format!("{} as {case}", property.field);
                let asked = findings.ask(&case, desk.request(operation, row).body("application/json", body));
                if let Some(answer) = asked.await {
                    desk.take_back(operation, &answer).await;
                }
            }
        }
        let grown = memory::peak(process).saturating_sub(before);
        if grown > MEMORY {
            let mebibytes = grown >> 20;
            findings.complaints.push(format!("{}: {mebibytes} MiB of memory more", operation.name));
        }
    }
    findings.assert_none();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_of_a_body_harms_whatever_it_consists_of_m10() {
    let desk = Desk::open().await;
    let mut findings = Findings::default();
    for (operation, row, good, properties) in bodies(&desk) {
        for property in properties.iter().filter(|property| property.is("string")) {
            let said =
                |text: &str| desk.request(operation, row).json(&with(good, &property.pointer, json!(text)));
            for text in part(hostile::texts(), 3).into_iter().chain([String::new()]) {
                let case = format!("{} {text:.40?}", property.field);
                if let Some(answer) = findings.ask(&case, said(&text)).await {
                    desk.take_back(operation, &answer).await;
                }
            }
            // Text that people write for others to read.
            let is_read = ["maxLength", "pattern", "format"].map(|name| property.schema[name].is_null());
            if is_read == [false, true, true] && !is_secret(row, &property.field) {
                for unreadable in hostile::UNREADABLE {
                    findings.refused(&format!("{} {unreadable:?}", property.field), said(unreadable)).await;
                }
            }
        }
    }
    findings.assert_none();
}

/// Passwords, and values that are only looked up.
fn is_secret(row: &Row, field: &str) -> bool {
    row.opaque.contains(&field) || field.ends_with("password")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cursor_that_somebody_made_up_harms_h2() {
    let desk = Desk::open().await;
    let mut findings = Findings::default();
    for path in ["/api/v1/addresses", "/api/v1/payment-methods", "/api/v1/products"] {
        // A second one of each, so that there is a second page.
        let (_, row) =
            desk.entries.iter().find(|(operation, _)| operation.name == format!("POST {path}")).unwrap();
        for _ in 0..2 {
            let mut good = row.good.clone().unwrap();
            if path.ends_with("products") {
                good["variants"][0]["sku"] = json!(rocketmart_shop::unique("SWEEP"));
            }
            desk.shop.post(path).by(&desk.seller).json(&good).await.expect(201);
        }
    }
    for (operation, _) in &desk.entries {
        if operation.method != Method::GET
            || !operation.parameters("query").iter().any(|name| name == "cursor")
        {
            continue;
        }
        let mine = if operation.path == "/api/v1/products" { "&seller=me" } else { "" };
        let list = |cursor: &str| {
            let path = format!("{}?limit=1{mine}{cursor}", operation.path);
            desk.shop.get(&path).by(&desk.seller)
        };
        let first = list("").await;
        let ours = first.json()["next_cursor"].as_str().and_then(decoded);
        let place = json!([1_789_000_000_000_000_i64, Uuid::nil()]);
        let changed = [ours, Some(place), Some(json!(Uuid::nil()))].into_iter().flatten();
        let changed = changed.flat_map(|place| part(hostile::changed(&place), 2));
        let written = changed.map(|json| json.to_string()).chain(hostile::places());
        for json in written {
            let cursor = BASE64_URL_SAFE_NO_PAD.encode(&json);
            let answer = findings.ask(&format!("{json:.80}"), list(&format!("&cursor={cursor}"))).await;
            let code = answer.map_or(0, |answer| answer.status);
            if ![200, 400, 422].contains(&code) {
                findings.complaints.push(format!("{}: {json:.80}: {code}", operation.name));
            }
        }
        for cursor in hostile::cursors() {
            findings.refused(&format!("{cursor:.80}"), list(&format!("&cursor={cursor}"))).await;
        }
    }
    findings.assert_none();
}

fn decoded(cursor: &str) -> Option<Value> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}
