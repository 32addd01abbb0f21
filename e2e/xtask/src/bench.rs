//! `cargo xtask bench`: builds for speed and hands over to `rocketmart-bench`.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use rocketmart_harness::{node::Node, prepare, programs::Programs};

use crate::demo;

const FOLDER: &str = "target/bench";
/// The scenario that needs the operator's program.
const OPERATOR: &str = "operator";
/// The scenario that needs a node.
const SCALE: &str = "scale";
const DOCUMENT: &str = "docs/benchmarks.md";

/// Measures the named scenarios, or all of them. `--quick` only tries them.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    prepare::for_tests()?;
    let mut packages = vec!["rocketmart", "rocketmart-checker", "rocketmart-loadtest"];
    let all = arguments.iter().all(|argument| argument.starts_with("--"));
    let wanted = |name: &str| all || arguments.iter().any(|argument| argument == name);
    let quick = arguments.iter().any(|argument| argument == "--quick");
    if !quick {
        // A node would take part of the machine that everything is measured on.
        ensure!(Node::find()?.is_none(), "the node is up; `cargo xtask down` removes it");
        if wanted(SCALE) && !Path::new(demo::REPORT).exists() {
            scale_on_a_node()?;
        }
    }
    if wanted(OPERATOR) {
        packages.push("rocketmart-operator");
    }
    let programs = Programs::build_for_speed(&packages)?;
    let mut command = bench(&programs, Path::new(FOLDER))?;
    command.args(arguments);
    if !quick {
        command.args(["--document", DOCUMENT]);
    }
    finish(&mut command)
}

/// Runs a demo that may scale its workers; the scenario reads its report. Workers have scaled out long before
/// half of the usual units are sold.
fn scale_on_a_node() -> Result<()> {
    println!("{SCALE} reads the report of a demo, and there is none yet");
    demo::run(&demo::Options { units: 400, shoppers: 2_000, ..demo::Options::default() })?;
    Node::down()
}

/// Briefly runs the parts that other scenarios are made of, with programs that were not built for speed. It
/// shows that they work and that the books are right afterwards. `cargo xtask bench --quick` tries all
/// scenarios.
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
