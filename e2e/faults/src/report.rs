//! The results of all runs: docs/faults.jsonl for machines, docs/faults.md for people.
//!
//! Every run adds a line to the former, even one that could not be carried out; `target/faults/<row>/` holds
//! everything that was found. The table sums up the newest three runs of every row. So single rows can be
//! repeated, on another machine too, without losing the others.

mod whole;

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use rocketmart_harness::{checkout, record};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    known_bugs::{MISTAKES, Mistake},
    rows::{self, ELSEWHERE},
    run::Outcome,
};

/// How many runs of a row the document shows.
const RUNS: usize = 3;
const INTRODUCTION: &str = "# Faults survived

Written by `cargo xtask faults`; do not edit. Each row is a sale under load on real processes (two order
APIs, two relays, two order-workers, two payment-workers, Redis with `appendfsync always` on a disk of its
own, PostgreSQL, Kafka), with faults in it, again and again. A client-side history is kept of every request. In the
end the sale is closed, drained and closed out, and the auditor compares I1–I7 across the history, Redis,
Kafka, PostgreSQL and the payment provider. *Recovery* is the time from the end of a fault until a probe buyer
has bought and its order is paid, the whole way through relay, Kafka, workers and provider; the slowest one
counts.

*Unknown* are purchases that were not answered: how many were answered when asked again with the same key,
how many had been made though nobody was told (they were paid or expired), and how many never were.
";

/// Adds a run of `name` to the record.
pub fn note(record: &Path, name: &str, outcome: &Result<Outcome>, took: Duration) -> Result<()> {
    let line = match outcome {
        Ok(outcome) => json!({
            "name": name,
            "injections": outcome.injections,
            "not_injected": outcome.not_injected.len(),
            "operations": outcome.operations,
            "lost": outcome.audit.lost_2xx,
            "gone_with_redis": outcome.audit.gone_with_redis,
            "oversold": outcome.audit.oversold,
            "charged_twice": outcome.audit.charged_twice,
            "unknown": outcome.audit.unknown,
            "slowest_recovery": outcome.slowest_recovery,
            "troubles": outcome.troubles,
        }),
        Err(error) => json!({"name": name, "troubles": [format!("not carried through: {error:#}")]}),
    };
    append(record, line, took)
}

/// Records how a mistake put back on purpose was caught, if it was.
pub fn note_mistake(record: &Path, mistake: &Mistake, how: Option<&str>, took: Duration) -> Result<()> {
    append(record, json!({"name": mistake_name(mistake), "caught": how}), took)
}

fn mistake_name(mistake: &Mistake) -> String {
    format!("bug-{}", mistake.name)
}

fn append(record: &Path, mut line: Value, took: Duration) -> Result<()> {
    line["at"] = OffsetDateTime::now_utc().replace_nanosecond(0)?.format(&Rfc3339)?.into();
    line["commit"] = checkout::commit().into();
    line["seconds"] = took.as_secs().into();
    record::append(record, &line)
}

/// Writes docs/faults.md from the record.
pub fn write(record: &Path, document: &Path) -> Result<()> {
    let runs = record::read(record)?;
    let mut text = String::from(INTRODUCTION);
    let mut shown = Vec::new();
    let mut table = String::new();
    for row in rows::all() {
        let runs = newest(&runs, row.name);
        let bound = row.bound.as_secs();
        writeln!(table, "| {} | {} (`{}`) | {} |", row.component, row.what, row.name, cells(&runs, bound))?;
        shown.extend(runs);
    }
    writeln!(text, "\nThe newest runs of each row, at most {RUNS}: {}\n", origin(&shown))?;
    text.push_str("| component | fault | held | injections | requests | lost | oversold | double | unknown: answered later / made / not made | slowest recovery | within |\n");
    text.push_str("|---|---|---|---|---|---|---|---|---|---|---|\n");
    text.push_str(&table);
    for row in ELSEWHERE {
        writeln!(text, "| {} | {} | run elsewhere: {} |||||||||", row.component, row.what, row.place)?;
    }
    text.push_str(&broken("What did not hold", &shown)?);
    let rows: Vec<_> = rows::all().iter().map(|row| row.name).collect();
    text.push_str(&whole::table(&runs, &rows)?);
    text.push_str(&campaigns(&runs)?);
    text.push_str(&mistakes(&runs)?);
    text.push_str(&not_injected());
    fs::write(document, text).with_context(|| document.display().to_string())
}

/// Says where the figures come from.
fn origin(runs: &[&Value]) -> String {
    let times = all(runs, "at");
    let (first, last) = (times.first().map_or("", minute), times.last().map_or("", minute));
    let minutes = sum(runs, |run| &run["seconds"]) / 60;
    format!("{} in all, {minutes} minutes, {first} to {last} (UTC), at {}.", runs.len(), commits(runs))
}

/// The commits that were run.
fn commits(runs: &[&Value]) -> String {
    all(runs, "commit").iter().map(|commit| format!("`{commit}`")).collect::<Vec<_>>().join(", ")
}

fn all<'a>(runs: &[&'a Value], field: &str) -> BTreeSet<&'a str> {
    runs.iter().filter_map(|run| run[field].as_str()).collect()
}

/// A time without its seconds.
fn minute<'a>(at: &&'a str) -> &'a str {
    at.get(..16).unwrap_or(at)
}

fn cells(runs: &[&Value], bound: u64) -> String {
    if runs.is_empty() {
        return format!("not run here yet |||||||| {bound} s");
    }
    let audited = |field: &'static str| sum(runs, move |run| &run[field]);
    let unknown = |field: &'static str| sum(runs, move |run| &run["unknown"][field]);
    let slowest = runs.iter().filter_map(|run| run["slowest_recovery"].as_f64()).fold(0.0, f64::max);
    let gone = match audited("gone_with_redis") {
        0 => String::new(),
        gone => format!(" ({gone} gone with Redis, of the moments that the rebuilds name)"),
    };
    format!(
        "{} of {} | {} | {} | {}{gone} | {} | {} | {} / {} / {} | {slowest:.1} s | {bound} s",
        runs.iter().filter(|run| held(run)).count(),
        runs.len(),
        audited("injections"),
        audited("operations"),
        audited("lost"),
        audited("oversold"),
        audited("charged_twice"),
        unknown("answered_later"),
        unknown("had_happened"),
        unknown("had_not_happened") + unknown("refused_later"),
    )
}

fn sum(runs: &[&Value], of: impl Fn(&Value) -> &Value) -> u64 {
    runs.iter().filter_map(|run| of(run).as_u64()).sum()
}

fn held(run: &Value) -> bool {
    run["troubles"].as_array().is_some_and(Vec::is_empty)
}

/// What went wrong, run by run.
fn broken(title: &str, runs: &[&Value]) -> Result<String> {
    let mut text = String::new();
    for run in runs.iter().filter(|run| !held(run)) {
        if text.is_empty() {
            write!(text, "\n## {title}\n\n")?;
        }
        let trouble: String = run["troubles"][0].as_str().unwrap_or_default().chars().take(300).collect();
        let (name, at) = (run["name"].as_str().unwrap_or_default(), run["at"].as_str().unwrap_or_default());
        writeln!(text, "- `{name}` ({at}): {}", trouble.replace('\n', " "))?;
    }
    Ok(text)
}

fn campaigns(runs: &[Value]) -> Result<String> {
    let is_round = |run: &&Value| run["name"].as_str().is_some_and(|name| name.starts_with("campaign-"));
    let rounds: Vec<_> = runs.iter().filter(is_round).collect();
    if rounds.is_empty() {
        return Ok(String::new());
    }
    let total = |field: &'static str| sum(&rounds, move |round| &round[field]);
    let clean: Vec<_> = rounds.iter().rev().take_while(|round| held(round)).copied().collect();
    let text = format!(
        "\n## Random campaigns\n\nA seed picks faults, times and targets; several are under way at once. {} rounds: {}\n\n{} injections ({} more could not be done to what another fault had just ended), {} requests: {} lost, {} oversold, {} charged twice. The last {} minutes, with {} injections, found nothing.\n",
        rounds.len(),
        origin(&rounds),
        total("injections"),
        total("not_injected"),
        total("operations"),
        total("lost"),
        total("oversold"),
        total("charged_twice"),
        sum(&clean, |round| &round["seconds"]) / 60,
        sum(&clean, |round| &round["injections"]),
    );
    Ok(text + &broken("Rounds that did not hold", &rounds)?)
}

/// What the newest run of each mistake found.
fn mistakes(runs: &[Value]) -> Result<String> {
    let mut text = String::from(
        "\n## Mistakes brought back on purpose\n\nA build with a known mistake has to be found out by the same audit (`cargo xtask faults --known-bugs`).\n\n| mistake | caught by (findings) | when (UTC), at |\n|---|---|---|\n",
    );
    for mistake in &MISTAKES {
        let cells = newest(runs, &mistake_name(mistake)).last().map_or_else(
            || "not run yet |".to_owned(),
            |run| {
                let text = |field: &str| run[field].as_str().unwrap_or_default().to_owned();
                let caught = run["caught"].as_str().unwrap_or("**not caught**");
                format!("{caught} | {}, `{}`", text("at"), text("commit"))
            },
        );
        writeln!(text, "| {} (`{}`) | {cells} |", mistake.what, mistake.name)?;
    }
    Ok(text)
}

fn not_injected() -> String {
    "\n## What is not injected here\n
- A network's 200 ms are added by a proxy on the edge, not to each packet: the kernel here is built without `netem`.
  (Lost packets are really lost, by rules of the network namespace that all of this runs in.)
- A disk with slow fsync is a disk that a neighbour keeps busy, not one that is slow by itself.
- The simulated provider's own crash is a row of the campaigns; it keeps its books in a file.\n"
        .to_owned()
}

/// The newest runs of a row, newest last.
fn newest<'a>(runs: &'a [Value], name: &str) -> Vec<&'a Value> {
    let mut newest: Vec<_> = runs.iter().rev().filter(|run| run["name"] == name).take(RUNS).collect();
    newest.reverse();
    newest
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_run_that_could_not_be_carried_through_counts_as_one_that_did_not_hold() -> Result<()> {
        let record = std::env::temp_dir().join(format!("rocketmart-report-{}", std::process::id()));
        let ran = |troubles: Value| {
            json!({"name": "poison", "troubles": troubles, "injections": 2, "lost": 0,
            "operations": 10, "slowest_recovery": 1.5})
        };
        let before = [ran(json!(["older"])), ran(json!([])), ran(json!([]))];
        for run in &before {
            record::append(&record, run)?;
        }
        note(&record, "poison", &Err(anyhow!("the shop did not start")), Duration::from_mins(1))?;
        note(&record, "another", &Err(anyhow!("nor did this one")), Duration::from_mins(1))?;

        let runs = record::read(&record)?;
        fs::remove_file(&record)?;
        let newest = newest(&runs, "poison");
        assert_eq!(cells(&newest, 30), "2 of 3 | 4 | 20 | 0 | 0 | 0 | 0 / 0 / 0 | 1.5 s | 30 s");
        assert!(broken("Broken", &newest)?.contains("not carried through: the shop did not start"));
        Ok(())
    }

    #[test]
    fn the_last_clean_minutes_of_a_campaign_begin_after_the_last_trouble() -> Result<()> {
        let round = |seconds: u64, troubles: Value| json!({"name": "campaign-1-2", "seconds": seconds, "injections": 9, "troubles": troubles});
        let rounds = [
            round(600, json!([])),
            round(600, json!(["lost one"])),
            round(300, json!([])),
            round(300, json!([])),
        ];
        assert!(campaigns(&rounds)?.contains("The last 10 minutes, with 18 injections, found nothing."));
        Ok(())
    }
}
