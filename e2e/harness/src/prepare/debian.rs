//! Debian's packages: the container runtime, the CNI plugins, etcd, the tools that build images, and the
//! servers that the service tests run as plain processes.

use std::{
    collections::HashSet,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};

use super::log;
use crate::{command, step};

const PACKAGES: &[&str] = &[
    // For the node.
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "etcd-client",
    "etcd-server",
    "iproute2",
    "ipset",
    "iptables",
    "nftables",
    "runc",
    // For its images.
    "buildah",
    "mmdebstrap",
    "python3",
    "python3-pip",
    // For docs/tour.md.
    "curl",
    "jq",
    // Servers for tests without a cluster, and a library that gives a test's process another time.
    "libfaketime",
    "postgresql-15",
    "redis-server",
];

const LIMIT: Duration = Duration::from_mins(15);

/// Installs the packages that are missing. If none is, it does nothing and asks for nothing.
pub(super) fn install_missing() -> Result<()> {
    let missing = missing(&installed()?, has_pip());
    if missing.is_empty() {
        return Ok(());
    }
    step::step(&format!("Install Debian packages: {}", missing.join(" ")), || {
        command::run(Command::new("apt-get").args(["update", "--quiet"]), &log("apt-update"), LIMIT)?;
        command::run(
            Command::new("apt-get")
                .args(["install", "--yes", "--quiet", "--no-install-recommends"])
                .args(&missing)
                .env("DEBIAN_FRONTEND", "noninteractive")
                // Without systemd, a package's script may start its server; it does not in run level 1.
                .env("RUNLEVEL", "1"),
            &log("apt-install"),
            LIMIT,
        )
    })
}

fn missing(installed: &HashSet<String>, has_pip: bool) -> Vec<&'static str> {
    PACKAGES
        .iter()
        .copied()
        .filter(|package| !installed.contains(*package))
        .filter(|package| !(*package == "python3-pip" && has_pip))
        .collect()
}

/// The names of all installed packages.
fn installed() -> Result<HashSet<String>> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Status} ${Package}\n"])
        .output()
        .context("running dpkg-query: the node is made for Debian 12")?;
    Ok(parse_installed(&String::from_utf8_lossy(&output.stdout)))
}

fn parse_installed(listing: &str) -> HashSet<String> {
    listing.lines().filter_map(|line| line.strip_prefix("installed ")).map(str::to_owned).collect()
}

/// A Python that is not Debian's brings its own pip.
fn has_pip() -> bool {
    Command::new("python3")
        .args(["-m", "pip", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_package_whose_configuration_is_still_there_counts_as_missing() {
        let installed = parse_installed("installed runc\nconfig-files containerd\n");
        let missing = missing(&installed, false);
        assert!(missing.contains(&"containerd"));
        assert!(!missing.contains(&"runc"));
    }

    #[test]
    fn pip_is_not_installed_when_python_has_one() {
        assert!(!missing(&HashSet::new(), true).contains(&"python3-pip"));
        assert!(missing(&HashSet::new(), false).contains(&"python3-pip"));
    }
}
