//! Which version of the project runs: a figure means nothing without it.

use std::process::Command;

/// Files that are written from the figures themselves: they do not change the version that the next run
/// measures.
const WRITTEN_FROM_FIGURES: [&str; 4] =
    ["docs/benchmarks.md", "docs/benchmarks.jsonl", "docs/faults.md", "docs/faults.jsonl"];

/// The commit of the checkout, and whether anything else than files written from figures differs from it.
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
