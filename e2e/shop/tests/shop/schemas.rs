//! Checks documents against JSON Schemas with somebody else's validator.

use std::io::Write as _;
use std::process::Stdio;

use rocketmart_harness::prepare;
use serde_json::{Value, json};

/// Documents of one schema. A closed schema refuses properties that it does not name.
pub(crate) struct Case {
    pub name: String,
    pub schema: Value,
    pub documents: Vec<Value>,
    pub closed: bool,
}

/// Fails the test with everything that does not fit its schema.
pub(crate) async fn assert_fit(cases: Vec<Case>) {
    let cases: Vec<Value> = cases
        .into_iter()
        .map(|case| {
            json!({"name": case.name, "schema": case.schema, "documents": case.documents, "closed": case.closed})
        })
        .collect();
    let checked = tokio::task::spawn_blocking(move || {
        let mut validator = prepare::python()?
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemas/validate.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        // Dropped at once, so that the validator sees the end of its input.
        validator.stdin.take().expect("a pipe").write_all(json!(cases).to_string().as_bytes())?;
        anyhow::Ok(validator.wait_with_output()?)
    });
    let output = checked.await.expect("no panic").expect("the validator runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
