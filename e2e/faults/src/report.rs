//! What all runs came to: JSON for machines, docs/faults.md for people.
//!
//! Each outcome lies in `target/faults/<row>/outcome.json`. The table is made of the newest outcome of
//! every row, so single rows can be repeated without losing the others.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::rows::{self, ELSEWHERE};

const INTRODUCTION: &str = "# Faults survived

Written by `cargo xtask faults`; do not edit. Each row is a sale under load on real processes (two order
APIs, two relays, two order-workers, two payment-workers, Redis with `appendfsync always` on a disk of its
own, PostgreSQL, Kafka), with faults in it, again and again. A client-side history is kept of every request. In the
end the sale is closed, drained and closed out, and the auditor compares I1–I7 across the history, Redis,
Kafka, PostgreSQL and the payment provider. *Recovery* is the time from the end of a fault until a canary
has bought and its order is paid, the whole way through relay, Kafka, workers and provider; the slowest one
counts.

*Unknown* are purchases that were not answered: how many were answered when asked again with the same key,
how many had been made though nobody was told (they were paid or expired), and how many never were.
";

/// Writes docs/faults.md from the outcomes in `folder`.
pub fn write(folder: &Path, document: &Path) -> Result<()> {
    let mut text = String::from(INTRODUCTION);
    text.push_str("\n| component | fault | injections | requests | lost | oversold | double | unknown: answered later / made / not made | slowest recovery | within | |\n");
    text.push_str("|---|---|---|---|---|---|---|---|---|---|---|\n");
    for row in rows::all() {
        let outcome = read(&folder.join(row.name))?;
        writeln!(
            text,
            "| {} | {} (`{}`) | {} |",
            row.component,
            row.what,
            row.name,
            cells(outcome.as_ref(), row.bound.as_secs())
        )?;
    }
    for row in ELSEWHERE {
        writeln!(text, "| {} | {} | run elsewhere: {} ||||||||||", row.component, row.what, row.place)?;
    }
    text.push_str(&campaigns(folder)?);
    text.push_str(&not_injected());
    fs::write(document, text).with_context(|| document.display().to_string())
}

fn cells(outcome: Option<&Value>, bound: u64) -> String {
    let Some(outcome) = outcome else { return format!("not run here yet ||||||| {bound} s |") };
    let audit = &outcome["audit"];
    let unknown = &audit["unknown"];
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    format!(
        "{} | {} | {} | {} | {} | {} / {} / {} | {:.1} s | {bound} s | {}",
        outcome["injections"],
        outcome["operations"],
        audit["lost_2xx"],
        audit["oversold"],
        audit["charged_twice"],
        unknown["answered_later"],
        unknown["had_happened"],
        number(&unknown["had_not_happened"]) + number(&unknown["refused_later"]),
        outcome["slowest_recovery"].as_f64().unwrap_or_default(),
        verdict(outcome),
    )
}

/// `held`, or what went wrong first.
fn verdict(outcome: &Value) -> String {
    match outcome["troubles"].as_array().and_then(|troubles| troubles.first()).and_then(Value::as_str) {
        None => match outcome["audit"]["gone_with_redis"].as_u64().unwrap_or_default() {
            0 => "held".to_owned(),
            gone => format!("held; {gone} acknowledged and gone with Redis, of the moment the rebuild names"),
        },
        Some(trouble) => {
            let short: String = trouble.chars().take(160).collect();
            format!("**broken**: {}", short.replace(['|', '\n'], " "))
        }
    }
}

fn campaigns(folder: &Path) -> Result<String> {
    let mut rounds = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("campaign-") {
            rounds.extend(read(&entry.path())?);
        }
    }
    if rounds.is_empty() {
        return Ok(String::new());
    }
    rounds.sort_by_key(|round| round["name"].as_str().unwrap_or_default().to_owned());
    let sum = |of: fn(&Value) -> u64| rounds.iter().map(of).sum::<u64>();
    let mut text = format!(
        "\n## Random campaigns\n\n{} rounds, {} injections (several at a time), {} requests: {} lost, {} oversold, {} charged twice.\n",
        rounds.len(),
        sum(|round| round["injections"].as_u64().unwrap_or_default()),
        sum(|round| round["operations"].as_u64().unwrap_or_default()),
        sum(|round| round["audit"]["lost_2xx"].as_u64().unwrap_or_default()),
        sum(|round| round["audit"]["oversold"].as_u64().unwrap_or_default()),
        sum(|round| round["audit"]["charged_twice"].as_u64().unwrap_or_default()),
    );
    let broken: Vec<_> = rounds.iter().filter(|round| !verdict(round).starts_with("held")).collect();
    for round in &broken {
        writeln!(text, "- `{}`: {}", round["name"].as_str().unwrap_or_default(), verdict(round))?;
    }
    Ok(text)
}

fn not_injected() -> String {
    "\n## What is not injected here\n
- A network's packet loss is played by a proxy as the pause that a retransmission makes; packets themselves
  are not dropped.
- A disk with slow fsync is a disk that a neighbour keeps busy, not one that is slow by itself.
- The simulated provider's own crash is a row of the campaigns; it keeps its books in a file.\n"
        .to_owned()
}

fn read(folder: &Path) -> Result<Option<Value>> {
    let path = folder.join("outcome.json");
    if !path.exists() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&fs::read(path)?)?))
}
