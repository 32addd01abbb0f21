//! Programs that run to their end with their output in a log.
//!
//! [`run`] waits for the end. To signal the program meanwhile, or to look at it, keep a [`Logged`].

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    process::{signal, wait_for},
    step,
};

/// Runs a command to its end with its output in `log`, for at most `limit`. If the command does not succeed,
/// the error contains the end of the log.
pub fn run(command: &mut Command, log: &Path, limit: Duration) -> Result<()> {
    let mut child = Logged::spawn(command, log)?;
    let Some(status) = child.wait_for(limit)? else {
        child.kill();
        bail!("did not finish within {} s\n{}", limit.as_secs(), step::tail(log));
    };
    if !status.success() {
        bail!("{} ended with {status}\n{}", command.get_program().to_string_lossy(), step::tail(log));
    }
    Ok(())
}

/// A command that runs to its end with its output in a file.
#[derive(Debug)]
pub struct Logged {
    child: Child,
}

impl Logged {
    pub fn spawn(command: &mut Command, log: &Path) -> Result<Self> {
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = File::create(log).with_context(|| format!("opening {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().to_string_lossy()))?;
        Ok(Self { child })
    }

    /// Sends a signal by name, e.g. `INT`.
    pub fn signal(&self, name: &str) -> Result<()> {
        signal(&self.child, name)
    }

    pub fn wait_for(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        wait_for(&mut self.child, limit)
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
