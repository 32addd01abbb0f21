//! Which version of the project runs: a figure means nothing without.

use std::process::Command;

/// The commit of the checkout, and whether anything but `documents`, which are made of the figures, differs from it.
pub fn commit(documents: &[&str]) -> String {
    let short = git(&["rev-parse", "--short=12", "HEAD"]);
    let short = short.filter(|commit| !commit.is_empty()).unwrap_or_else(|| "no commit".to_owned());
    let others: Vec<_> = documents.iter().map(|document| format!(":(top,exclude){document}")).collect();
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
