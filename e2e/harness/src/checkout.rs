//! Which version of the project runs: a figure means nothing without.

use std::process::Command;

/// What is written from the figures themselves: a run does not change the version that the next one measures.
const WRITTEN_FROM_FIGURES: [&str; 4] =
    ["docs/benchmarks.md", "docs/benchmarks.jsonl", "docs/faults.md", "docs/faults.jsonl"];

/// The commit of the checkout, and whether anything differs from it but what is written from figures.
pub fn commit() -> String {
    let short = git(&["rev-parse", "--short=12", "HEAD"]);
    let short = short.filter(|commit| !commit.is_empty()).unwrap_or_else(|| "no commit".to_owned());
    let others = WRITTEN_FROM_FIGURES.map(|document| format!(":(top,exclude){document}"));
    let mut status = vec!["status", "--porcelain", "--untracked-files=no", "--", ":/"];
    status.extend(others.iter().map(String::as_str));
    match git(&status) {
        Some(changes) if !changes.is_empty() => format!("{short} with changes"),
        _ => short,
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
