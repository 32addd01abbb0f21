//! The long-running programs of the node. They outlive the program that started them: `cargo xtask up` ends,
//! the node stays.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{cgroup, layout::Layout, namespace};
use crate::step;

/// Enters the cgroup first and only then becomes the program, so that not even its first fork is missed. It
/// gets its own session, because what a terminal sends to its foreground is not meant for the node.
const ENTER_CGROUP: &str = r#"echo $$ > "$0" && exec setsid "$@""#;

const ENTER_LIMIT: Duration = Duration::from_secs(10);
const END_LIMIT: Duration = Duration::from_secs(30);

/// A program to run in the node's namespace and cgroup, with its log and process id in files.
pub(super) struct Daemon {
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
}

impl Daemon {
    pub(super) fn start(&self, layout: &Layout) -> Result<()> {
        let log = File::create(layout.log(self.name))
            .with_context(|| format!("making the log of {}", self.name))?;
        let child = Command::new("sh")
            .args(["-c", ENTER_CGROUP])
            .arg(cgroup::members_file()?)
            .args(namespace::enter())
            .arg(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.name))?;
        fs::write(layout.pid(self.name), child.id().to_string())?;
        step::wait_until(self.name, ENTER_LIMIT, || cgroup::has(child.id()) || cgroup::ended(child.id()))
    }

    /// Ends the program that was started last, and waits until it is gone.
    pub(super) fn end(&self, layout: &Layout) -> Result<()> {
        signal(layout, self.name, "TERM")?;
        step::wait_until(self.name, END_LIMIT, || !runs(layout, self.name))
    }

    /// If the program has ended, fails with the end of its log.
    pub(super) fn check(&self, layout: &Layout) -> Result<()> {
        if runs(layout, self.name) {
            return Ok(());
        }
        bail!("{} ended\n{}", self.name, step::tail(&layout.log(self.name)))
    }
}

/// Whether the program that was last started under this name still runs.
pub(super) fn runs(layout: &Layout, name: &str) -> bool {
    // Another process may have got the same id later; membership tells them apart.
    pid(layout, name).is_some_and(|pid| cgroup::has(pid) && !cgroup::ended(pid))
}

/// Ends a program as a crash would.
pub(super) fn kill(layout: &Layout, name: &str) -> Result<()> {
    signal(layout, name, "KILL")
}

fn signal(layout: &Layout, name: &str, signal: &str) -> Result<()> {
    if let Some(pid) = pid(layout, name).filter(|_| runs(layout, name)) {
        Command::new("kill").args(["-s", signal, &pid.to_string()]).status().context("running kill")?;
    }
    Ok(())
}

fn pid(layout: &Layout, name: &str) -> Option<u32> {
    fs::read_to_string(layout.pid(name)).ok()?.parse().ok()
}
