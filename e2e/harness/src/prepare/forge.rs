//! Checks files that nothing here runs, with the programs that read them elsewhere.
//!
//! ```text
//! kind-config.yaml ──────────▶ kind's own types and rules (e2e/kindcheck/kind-config)
//! .github/workflows/ci.yaml ─▶ actionlint
//! ```

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{checkout, go::readers};

/// Refuses a configuration of kind, or a workflow, that kind or a forge would refuse.
pub fn check_what_runs_elsewhere() -> Result<()> {
    kind_configuration(&checkout().join("kind-config.yaml"))?;
    workflow(&checkout().join(".github/workflows/ci.yaml"))
}

/// Reads a configuration as `kind create cluster` does, and returns the cluster's name.
fn kind_configuration(path: &Path) -> Result<String> {
    read(Command::new(reader("kind-config")?).arg(path)).map(|name| name.trim().to_owned())
}

fn workflow(path: &Path) -> Result<()> {
    // Other programs that happen to be installed would change its answer.
    let options = ["-no-color", "-shellcheck=", "-pyflakes="];
    read(Command::new(reader("actionlint")?).args(options).arg(path)).map(drop)
}

fn reader(program: &str) -> Result<PathBuf> {
    Ok(readers()?.join(program))
}

/// Returns what a reader prints; if the reader is not content, that is the error.
fn read(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{command:?}: {printed}{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(printed)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::process;

    /// What `reader` says about a file after `from` in it became `to`.
    fn refusal<T>(
        file: &str,
        from: &str,
        to: &str,
        reader: impl Fn(&Path) -> Result<T>,
    ) -> Result<Option<String>> {
        let text = fs::read_to_string(checkout().join(file))?;
        assert!(text.contains(from), "{file} has no {from:?}");
        let folder = process::scratch("forge")?;
        let changed = folder.join("changed.yaml");
        fs::write(&changed, text.replacen(from, to, 1))?;
        let refusal = reader(&changed).err().map(|error| format!("{error:#}"));
        fs::remove_dir_all(folder)?;
        Ok(refusal)
    }

    #[test]
    fn kind_reads_its_configuration_and_the_readme_loads_images_into_that_cluster() -> Result<()> {
        let name = kind_configuration(&checkout().join("kind-config.yaml"))?;
        let readme = fs::read_to_string(checkout().join("README.md"))?;
        assert!(readme.contains(&format!("kind load docker-image --name {name} ")), "{name}");
        Ok(())
    }

    #[test]
    fn a_field_that_kind_does_not_know_and_a_port_that_there_is_not_are_refused() -> Result<()> {
        for (from, to, said) in [
            ("hostPort: 80\n", "hostPorts: 80\n", "hostPorts"),
            ("hostPort: 80\n", "hostPort: 80000\n", "hostPort"),
            ("role: control-plane", "role: control", "role"),
        ] {
            let refusal = refusal("kind-config.yaml", from, to, kind_configuration)?;
            assert!(refusal.as_ref().is_some_and(|text| text.contains(said)), "{to}: {refusal:?}");
        }
        Ok(())
    }

    #[test]
    fn actionlint_reads_the_workflow() -> Result<()> {
        workflow(&checkout().join(".github/workflows/ci.yaml"))
    }

    #[test]
    fn a_key_that_workflows_do_not_have_is_refused() -> Result<()> {
        let (from, to) = ("timeout-minutes:", "time-out-minutes:");
        let refusal = refusal(".github/workflows/ci.yaml", from, to, workflow)?;
        assert!(refusal.as_ref().is_some_and(|text| text.contains("time-out-minutes")), "{refusal:?}");
        Ok(())
    }
}
