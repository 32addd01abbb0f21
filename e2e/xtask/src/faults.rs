//! `cargo xtask faults`: builds the shop with its failpoints and lets `rocketmart-faults` loose on it.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};
use rocketmart_harness::{
    prepare,
    programs::{self, Programs},
};

const OUTCOMES: &str = "target/faults";
const DOCUMENT: &str = "docs/faults.md";

/// A campaign short enough for every test run.
const SHORT: [&str; 4] = ["--seed", "1", "--minutes", "1"];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    prepare::packages()?;
    let programs = Programs::build()?;
    // All rows, or some of them: either way the document shows the newest outcome of each.
    let arguments = arguments.iter().map(String::as_str).chain(["--document", DOCUMENT]);
    start(&programs, arguments)
}

/// What every test run does: a short campaign, and the proof that known mistakes are caught.
pub(crate) fn short(programs: &Programs) -> Result<()> {
    start(programs, SHORT.into_iter())?;
    start(programs, ["--known-bugs"].into_iter())
}

fn start<'a>(programs: &Programs, arguments: impl Iterator<Item = &'a str>) -> Result<()> {
    let shop = programs::build_with_faults(Path::new(OUTCOMES))?;
    let status = Command::new(programs.program("rocketmart-faults")?)
        .args(arguments)
        .args(["--out", OUTCOMES, "--program"])
        .arg(shop)
        .status()?;
    if !status.success() {
        bail!("rocketmart-faults ended with {status}");
    }
    Ok(())
}
