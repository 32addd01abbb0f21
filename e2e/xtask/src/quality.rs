//! Formatting, lints and generated files.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use rocketmart_harness::{
    prepare::{self, CargoTool},
    process,
    programs::{Programs, Speed},
};

/// What has an OpenAPI document: the components that serve HTTP, and the shop as a whole.
const DESCRIBED: [&str; 7] = ["catalog", "delivery", "member", "order", "payment", "search", "shop"];

const EVENT_SCHEMAS: &str = "docs/events";

pub(crate) fn format(check: bool) -> Result<()> {
    if check { cargo(&["fmt", "--all", "--check"]) } else { cargo(&["fmt", "--all"]) }
}

pub(crate) fn lint() -> Result<()> {
    format(true)?;
    cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"])?;
    generate(&Programs::build(Speed::AsTested)?, true)?;
    prepare::check_what_runs_elsewhere()?;
    dependencies()
}

/// Whether every dependency is used, is allowed, and is compiled once.
fn dependencies() -> Result<()> {
    tool(CargoTool::Hakari, &["hakari", "verify"])?;
    tool(CargoTool::Hakari, &["hakari", "manage-deps", "--dry-run"])?;
    tool(CargoTool::Machete, &["--with-metadata"])?;
    // Without the advisories: their list is not in a package registry.
    tool(CargoTool::Deny, &["--log-level", "error", "check", "bans", "licenses", "sources"])
}

fn tool(tool: CargoTool, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(tool.program()?);
    let status = command.args(arguments).env("CARGO", env!("CARGO")).env("RUST_BACKTRACE", "0").status()?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// Writes the generated files; with `check` it only says which of them differ from what the code generates.
pub(crate) fn generate(programs: &Programs, check: bool) -> Result<()> {
    let mut stale = Vec::new();
    let folder = process::scratch("generated")?;
    let (crds, events) = (folder.join("crds"), folder.join("events"));
    fs::create_dir(&crds)?;
    output(Command::new(programs.program("crdgen")?).arg(&crds))?;
    // Others know what is in the tree now: a change that would break them fails here.
    output(
        Command::new(programs.program("rocketmart")?)
            .arg("event-schemas")
            .arg(&events)
            .args(["--since", EVENT_SCHEMAS]),
    )?;
    for (made, kept) in [(&crds, "charts/rocketmart/crds"), (&events, EVENT_SCHEMAS)] {
        for file in fs::read_dir(made)? {
            let file = file?;
            let text = fs::read_to_string(file.path())?;
            write_or_compare(&Path::new(kept).join(file.file_name()), &text, check, &mut stale)?;
        }
    }
    fs::remove_dir_all(folder)?;
    for component in DESCRIBED {
        let document = output(Command::new(programs.program("rocketmart")?).args(["openapi", component]))?;
        write_or_compare(
            &Path::new("docs/openapi").join(format!("{component}.json")),
            &document,
            check,
            &mut stale,
        )?;
    }
    if stale.is_empty() {
        return Ok(());
    }
    bail!("not what the code generates (run `cargo xtask gen`): {}", stale.join(", "))
}

fn write_or_compare(path: &Path, text: &str, check: bool, stale: &mut Vec<String>) -> Result<()> {
    if check {
        if fs::read_to_string(path).unwrap_or_default() != text {
            stale.push(path.display().to_string());
        }
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs cargo with its output on the terminal.
fn cargo(arguments: &[&str]) -> Result<()> {
    let status = Command::new(env!("CARGO")).args(arguments).status()?;
    if !status.success() {
        bail!("cargo {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}
