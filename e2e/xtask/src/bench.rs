//! `cargo xtask bench`: builds for speed and hands over to `rocketmart-bench`.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use rocketmart_harness::{prepare, programs::Programs};

const FOLDER: &str = "target/bench";
/// The scenario that needs the operator's program.
const OPERATOR: &str = "operator";
const DOCUMENT: &str = "docs/benchmarks.md";

/// Measures the scenarios that are named, or all; with `--quick` only tries them.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    prepare::for_tests()?;
    let mut packages = vec!["rocketmart", "rocketmart-checker", "rocketmart-loadtest"];
    let named = |name: &str| arguments.iter().any(|argument| argument == name);
    if named(OPERATOR) || arguments.iter().all(|argument| argument.starts_with("--")) {
        packages.push("rocketmart-operator");
    }
    let programs = Programs::build_for_speed(&packages)?;
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let mut command = bench(&programs, Path::new(FOLDER))?;
    command.args(arguments);
    if !quick {
        command.args(["--document", DOCUMENT]);
    }
    finish(&mut command)
}

/// Runs what the others are made of for a moment, with programs that were not built for speed: that it
/// works, and that the books are right afterwards. `cargo xtask bench --quick` tries all scenarios.
pub(crate) fn works(programs: &Programs) -> Result<()> {
    let mut command = bench(programs, &Path::new(FOLDER).join("quick"))?;
    finish(command.args(["--quick", "soldout", "paid", "preload"]))
}

fn bench(programs: &Programs, folder: &Path) -> Result<Command> {
    let mut command = Command::new(programs.program("rocketmart-bench")?);
    command
        .arg("run")
        .arg("--rocketmart")
        .arg(programs.program("rocketmart")?)
        .arg("--checker")
        .arg(programs.program("rocketmart-checker")?)
        .arg("--out")
        .arg(folder);
    if let Ok(operator) = programs.program("rocketmart-operator") {
        command.arg("--operator").arg(operator);
    }
    Ok(command)
}

fn finish(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().context("starting rocketmart-bench")?;
    if status.success() { Ok(()) } else { bail!("rocketmart-bench ended with {status}") }
}
