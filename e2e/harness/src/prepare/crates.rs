//! Developers' programs that come as crates, at versions fixed here.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::Result;

use super::log;
use crate::{cache, command, step};

/// cargo-hakari took nine minutes on two busy cores, and cargo-deny is larger.
const LIMIT: Duration = Duration::from_mins(30);

/// A program from the crate of the same name.
#[derive(Debug, Clone, Copy)]
pub enum CargoTool {
    /// Keeps `workspace-hack` the union of all requested features.
    Hakari,
    /// Checks licences, sources and duplicates of dependencies.
    Deny,
    /// Finds dependencies that nothing uses.
    Machete,
}

impl CargoTool {
    fn name(self) -> &'static str {
        match self {
            Self::Hakari => "cargo-hakari",
            Self::Deny => "cargo-deny",
            Self::Machete => "cargo-machete",
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::Hakari => "0.9.39",
            Self::Deny => "0.20.2",
            Self::Machete => "0.9.2",
        }
    }

    /// The program, compiled at first use.
    pub fn program(self) -> Result<PathBuf> {
        let name = self.name();
        let folder = cache::entry(name, self.version(), |into| {
            step::step(&format!("Install {name} {} (cargo)", self.version()), || {
                let mut install = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
                install
                    .args(["install", "--locked", "--version", self.version(), "--root"])
                    .arg(into)
                    .arg(name);
                // Nobody needs the crates that it compiled on the way.
                install.env("CARGO_TARGET_DIR", into.join("target"));
                command::run(&mut install, &log(name), LIMIT)?;
                Ok(std::fs::remove_dir_all(into.join("target"))?)
            })
        })?;
        Ok(folder.join("bin").join(name))
    }
}
