//! Our own programs and tests, built by one cargo invocation.
//!
//! The image, the demo and the tests share one profile and (through `workspace-hack`) one set of features, so
//! every dependency is compiled once. For who measures ([`Speed::Optimized`]), only our own crates are
//! compiled again at another level.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// How our own programs are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// As for the tests: quick to compile.
    AsTested,
    /// For measuring: the crates that a purchase runs through are optimized.
    Optimized,
}

/// The crates that a purchase runs through. Dependencies keep their level, so that they are compiled once.
const ON_THE_PATH: [&str; 7] = [
    "rocketmart",
    "rocketmart-contracts",
    "rocketmart-kit",
    "rocketmart-order",
    "rocketmart-payment",
    "rocketmart-server",
    "rocketmart-stock",
];
/// The level of those crates in an optimized build.
const LEVEL: u8 = 2;

/// What an executable is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A program.
    Program,
    /// The unit tests of a library or a program.
    UnitTests,
    /// A test binary of a package's `tests` folder.
    IntegrationTests,
}

/// An executable that cargo built.
#[derive(Debug, Clone)]
pub struct Executable {
    pub package: String,
    pub name: String,
    pub kind: Kind,
    pub path: PathBuf,
    /// The package's folder; its tests run in it.
    pub folder: PathBuf,
}

/// Everything that cargo built.
#[derive(Debug, Clone)]
pub struct Programs {
    executables: Vec<Executable>,
}

impl Programs {
    /// Builds all programs of the workspace; cargo's progress goes to the terminal.
    pub fn build(speed: Speed) -> Result<Self> {
        let levels = match speed {
            Speed::AsTested => Vec::new(),
            Speed::Optimized => ON_THE_PATH
                .iter()
                .map(|package| format!("--config=profile.dev.package.{package}.opt-level={LEVEL}"))
                .collect(),
        };
        let arguments: Vec<&str> = levels.iter().map(String::as_str).chain(["--bins"]).collect();
        Self::build_targets(&arguments)
    }

    /// Builds all programs and all tests of the workspace.
    pub fn build_with_tests() -> Result<Self> {
        Self::build_targets(&["--bins", "--tests"])
    }

    /// Builds the programs of some packages for speed, with the release profile, which nothing else uses.
    pub fn build_for_speed(packages: &[&str]) -> Result<Self> {
        let packages = packages.iter().flat_map(|package| ["--package", package]);
        Self::build_with(&["--release", "--bins"].into_iter().chain(packages).collect::<Vec<_>>())
    }

    fn build_targets(targets: &[&str]) -> Result<Self> {
        Self::build_with(&[&["--workspace"], targets].concat())
    }

    fn build_with(arguments: &[&str]) -> Result<Self> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        forget_the_package_that_runs(&mut cargo);
        let mut cargo = cargo
            .args(["build", "--message-format=json-render-diagnostics"])
            .args(arguments)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .stdout(Stdio::piped())
            .spawn()
            .context("starting cargo")?;
        let messages = cargo.stdout.take().context("cargo has no output")?;
        let mut executables = Vec::new();
        for line in BufReader::new(messages).lines() {
            executables.extend(executable(&serde_json::from_str(&line?)?));
        }
        let status = cargo.wait()?;
        if !status.success() {
            bail!("cargo build ended with {status}");
        }
        Ok(Self { executables })
    }

    /// A program by its name.
    pub fn program(&self, name: &str) -> Result<&Path> {
        self.executables
            .iter()
            .find(|executable| executable.kind == Kind::Program && executable.name == name)
            .map(|executable| executable.path.as_path())
            .with_context(|| format!("the workspace has no program `{name}`"))
    }

    /// The test executables of one kind, by package.
    pub fn tests(&self, kind: Kind) -> impl Iterator<Item = &Executable> {
        self.executables.iter().filter(move |executable| executable.kind == kind)
    }
}

/// A program built beside the one that runs. For tests: they are built with all programs.
pub fn beside_this_one(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    // Tests are in `deps`, one level below the programs.
    let found = this.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("`{name}` is not built: run `cargo build --bins`"))
}

/// `cargo run` tells a program which package it belongs to, and some build scripts read the same variables.
/// Inside `cargo xtask` they would differ from those of a plain `cargo build`, and half of the dependencies
/// would be compiled again.
fn forget_the_package_that_runs(cargo: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_", "CARGO_PRIMARY_"];
        if name.to_str().is_some_and(|name| told.iter().any(|prefix| name.starts_with(prefix))) {
            cargo.env_remove(name);
        }
    }
}

/// Reads an executable from one of cargo's messages.
fn executable(message: &Value) -> Option<Executable> {
    let path = PathBuf::from(message["executable"].as_str()?);
    let target = &message["target"];
    let target_kind = target["kind"][0].as_str()?;
    let kind = match (message["profile"]["test"].as_bool()?, target_kind) {
        (false, "bin") => Kind::Program,
        (true, "test") => Kind::IntegrationTests,
        (true, _) => Kind::UnitTests,
        _ => return None,
    };
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
    Some(Executable {
        package: package_name(message["package_id"].as_str()?)?,
        name: target["name"].as_str()?.to_owned(),
        kind,
        path,
        folder,
    })
}

/// The name in `path+file:///…/services/kit#rocketmart-kit@0.1.0` or `path+file:///…/xtask#0.1.0`.
fn package_name(id: &str) -> Option<String> {
    let (url, fragment) = id.rsplit_once('#')?;
    let name = match fragment.split_once('@') {
        Some((name, _)) => name,
        None => url.rsplit('/').next()?,
    };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_package_is_named_in_its_fragment_or_by_its_folder() {
        assert_eq!(
            package_name("path+file:///w/services/kit#rocketmart-kit@0.1.0").as_deref(),
            Some("rocketmart-kit")
        );
        assert_eq!(package_name("path+file:///w/e2e/xtask#0.1.0").as_deref(), Some("xtask"));
    }

    #[test]
    fn a_program_and_its_unit_tests_are_told_apart() {
        let message = |test: bool| {
            json!({
                "executable": "/t/debug/rocketmart", "manifest_path": "/w/services/rocketmart/Cargo.toml",
                "package_id": "path+file:///w/services/rocketmart#0.1.0", "profile": {"test": test},
                "target": {"kind": ["bin"], "name": "rocketmart"}
            })
        };
        assert_eq!(executable(&message(false)).map(|found| found.kind), Some(Kind::Program));
        assert_eq!(executable(&message(true)).map(|found| found.kind), Some(Kind::UnitTests));
    }
}
