//! `cargo xtask faults`: lets `rocketmart-faults` loose on the shop.

use std::process::Command;

use anyhow::{Result, bail};
use rocketmart_harness::{
    prepare,
    programs::{Programs, Speed},
};

const OUTCOMES: &str = "target/faults";
const RECORD: &str = "docs/faults.jsonl";
const DOCUMENT: &str = "docs/faults.md";

/// One round of a campaign.
const SHORT: [&str; 4] = ["--seed", "1", "--round", "0"];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    prepare::packages()?;
    let programs = Programs::build(Speed::AsTested)?;
    // Whether all rows ran or only some, the document shows the newest runs of each.
    let arguments = arguments.iter().map(String::as_str);
    let arguments = arguments.chain(["--record", RECORD, "--document", DOCUMENT]);
    start(&programs, arguments)
}

/// What the test tier runs: sixteen faults at random, several at once.
pub(crate) fn short(programs: &Programs) -> Result<()> {
    start(programs, SHORT.into_iter())
}

fn start<'a>(programs: &Programs, arguments: impl Iterator<Item = &'a str>) -> Result<()> {
    let status = Command::new(programs.program("rocketmart-faults")?)
        .args(arguments)
        .args(["--out", OUTCOMES, "--program"])
        .arg(programs.program("rocketmart-with-faults")?)
        .status()?;
    if !status.success() {
        bail!("rocketmart-faults ended with {status}");
    }
    Ok(())
}
