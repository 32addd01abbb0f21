//! The network namespace of the node: loopback, one bridge with the node's address, and a route for Service
//! addresses. It has no default route on purpose, so nothing in it can reach the outside.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use super::layout::{ADDRESS_WITH_PREFIX, NAME, SERVICE_SUBNET};

pub(super) fn exists() -> bool {
    file().exists()
}

fn file() -> PathBuf {
    PathBuf::from("/run/netns").join(NAME)
}

pub(super) fn create() -> Result<()> {
    ip(&["netns", "add", NAME])?;
    ip(&["-n", NAME, "link", "set", "lo", "up"])?;
    // Not every kernel has a dummy device; a bridge without members does the same.
    ip(&["-n", NAME, "link", "add", "node0", "type", "bridge"])?;
    ip(&["-n", NAME, "address", "add", ADDRESS_WITH_PREFIX, "dev", "node0"])?;
    ip(&["-n", NAME, "link", "set", "node0", "up"])?;
    // Without a route, a packet to a Service never gets to the rules that would translate it.
    ip(&["-n", NAME, "route", "add", SERVICE_SUBNET, "dev", "node0"])
}

pub(super) fn delete() -> Result<()> {
    if exists() { ip(&["netns", "delete", NAME]) } else { Ok(()) }
}

/// The arguments that run a program in the namespace. They are not `ip netns exec`, which mounts a new /sys
/// and so hides the cgroups.
pub(crate) fn enter() -> [String; 2] {
    ["nsenter".to_owned(), format!("--net={}", file().display())]
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().context("running ip")?;
    if !output.status.success() {
        bail!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
