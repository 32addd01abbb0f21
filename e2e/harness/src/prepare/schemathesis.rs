//! Schemathesis asks a running API everything that its OpenAPI document allows and forbids. It is among the
//! Python packages of `e2e/shop/requirements.txt`.
//!
//! They are installed into a folder and not into a virtual environment. A folder may be renamed, as every new
//! entry of the cache is, and it needs only Python and pip.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result};

use super::{checkout, log};
use crate::{cache, command, step};

const LIMIT: Duration = Duration::from_mins(10);

/// A command that runs Schemathesis, installed at first use.
pub fn schemathesis() -> Result<Command> {
    let mut command = python()?;
    command.args(["-m", "schemathesis.cli"]);
    Ok(command)
}

/// A command that runs Python with these packages; `jsonschema_rs` among them is of use too.
pub fn python() -> Result<Command> {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", packages()?).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// The folder with the packages, some of which are compiled for one version of Python.
pub(super) fn packages() -> Result<PathBuf> {
    let requirements = checkout().join("e2e/shop/requirements.txt");
    let python = Command::new("python3").arg("--version").output().context("running python3")?;
    let key = cache::key(&[
        cache::key_of_files(std::slice::from_ref(&requirements))?,
        String::from_utf8_lossy(&python.stdout).into_owned(),
    ]);
    cache::entry("schemathesis", &key, |into| {
        step::step("Install Schemathesis (pip)", || {
            command::run(
                Command::new("python3")
                    .args([
                        "-m",
                        "pip",
                        "install",
                        "--quiet",
                        "--no-deps",
                        "--only-binary=:all:",
                        "--require-hashes",
                    ])
                    .args(["--disable-pip-version-check", "--root-user-action=ignore", "--requirement"])
                    .arg(&requirements)
                    .arg("--target")
                    .arg(into),
                &log("schemathesis"),
                LIMIT,
            )
        })
    })
}
