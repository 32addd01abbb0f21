//! Formatting, lints and generated files.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use rocketmart_harness::programs::Programs;

/// The components that serve HTTP, hence have an OpenAPI document.
const HTTP_COMPONENTS: [&str; 6] = ["catalog", "delivery", "member", "order", "payment", "search"];

pub(crate) fn format(check: bool) -> Result<()> {
    if check { cargo(&["fmt", "--all", "--check"]) } else { cargo(&["fmt", "--all"]) }
}

pub(crate) fn lint() -> Result<()> {
    format(true)?;
    cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"])?;
    generate(&Programs::build()?, true)
}

/// Writes the generated files, or says which of them are not what the code would generate.
pub(crate) fn generate(programs: &Programs, check: bool) -> Result<()> {
    let mut stale = Vec::new();
    let crds = output(Command::new(programs.program("crdgen")?).arg("--stdout"))?;
    for (name, text) in split_crds(&crds)? {
        write_or_compare(&Path::new("charts/rocketmart/crds").join(name), &text, check, &mut stale)?;
    }
    for component in HTTP_COMPONENTS {
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

/// `crdgen` prints the CRDs as one YAML stream, each named in its metadata.
fn split_crds(stream: &str) -> Result<Vec<(String, String)>> {
    stream
        .split("---\n")
        .filter(|document| !document.trim().is_empty())
        .map(|document| {
            let name = document
                .lines()
                .find_map(|line| line.strip_prefix("  name: "))
                .context("a generated CRD has no metadata.name")?;
            Ok((format!("{name}.yaml"), document.to_owned()))
        })
        .collect()
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
