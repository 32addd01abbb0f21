//! Schemathesis against the documents that the services serve. It tries whatever they allow and forbid, as a
//! buyer and as a seller. No answer may be a 5xx or differ from its description.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use rocketmart_harness::{command, prepare, process, step};
use rocketmart_shop::{eventually, mug, unique};

use crate::document::{self, SERVICES};
use crate::sweep::long;

/// Requests from the description: each type, each limit, and just beyond it.
const PHASES: &str = "coverage";
/// With `--long` also random requests, this many for each operation.
const LONG_PHASES: &str = "coverage,fuzzing";
const MADE_UP: &str = "100";
/// The same requests each time, so that a failure can be repeated on another machine.
const SEED: &str = "1";
const LIMIT: Duration = Duration::from_mins(20);
const AT_ONCE: usize = 2;

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,unsupported_method";

/// Operations of the member service that would end the session used for everything else. services/member
/// tests them itself.
const GOODBYES: [&str; 3] = ["delete", "log_out", "log_out_everywhere"];

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_a_server_error_or_other_than_its_document_says() {
    let (shop, services) = document::open().await;
    let (buyer, seller) = (shop.buyer().await, shop.seller().await);
    // A search that has not seen any product is not ready.
    shop.publish(&seller, &mug(&unique("MUG"), 100, 1)).await;
    eventually("search is ready", async || (shop.get("/api/v1/search").await.status == 200).then_some(()))
        .await;
    let mut runs = Vec::new();
    for (url, service) in services.iter().zip(SERVICES) {
        for (role, member) in [("buyer", &buyer), ("seller", &seller)] {
            runs.push((format!("{}-as-{role}", service.name()), url.clone(), member.token.clone()));
        }
    }
    let complaints: Vec<String> = stream::iter(runs)
        .map(|(what, url, token)| async move {
            let name = what.clone();
            let run = tokio::task::spawn_blocking(move || ask_everything(&name, &url, &token));
            run.await.expect("no panic").err().map(|error| format!("{what}: {error:#}"))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(async |complaint| complaint)
        .collect()
        .await;
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}

fn ask_everything(what: &str, url: &str, token: &str) -> anyhow::Result<()> {
    let folder = process::scratch(what)?;
    let log = folder.join("report.txt");
    let mut command = prepare::schemathesis()?;
    command
        .current_dir(&folder)
        .args(["run", &format!("{url}/openapi.json")])
        .args(["--checks", CHECKS, "--phases", if long() { LONG_PHASES } else { PHASES }])
        .args(["--max-examples", MADE_UP])
        .args(["--seed", SEED, "--no-shrink"])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(
            what.starts_with("member")
                .then_some(GOODBYES)
                .into_iter()
                .flatten()
                .flat_map(|id| ["--exclude-operation-id", id]),
        )
        .args(["--suppress-health-check", "all", "--warnings", "off", "--no-color"]);
    command::run(&mut command, &log, LIMIT).map_err(|error| {
        let report = std::fs::read_to_string(&log).unwrap_or_default();
        error.context(report)
    })?;
    println!("{what}:\n{}", step::tail(&log));
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
