//! What happens to PostgreSQL: it dies, hangs, meets others' locks, or has a busy disk.

use std::{
    fs,
    io::Write as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use tokio::runtime::Handle;

use super::{Fault, rest};
use crate::{strangers, world::World};

/// A killed server has restarted within this time.
const RESTART_LIMIT: Duration = Duration::from_mins(1);

pub(super) fn inject(fault: &Fault, world: &World) -> Result<()> {
    let url = world.with_stack(|stack| stack.database_url("order"));
    match fault {
        Fault::PostgresKilled => restart(world),
        Fault::PostgresFrozen { seconds } => {
            let pid = world.with_stack(|stack| stack.backing.postgres.id());
            signal_family(pid, "STOP")?;
            rest(*seconds);
            signal_family(pid, "CONT")
        }
        Fault::PostgresPoolExhausted { seconds } => {
            Handle::current().block_on(strangers::lock_orders(&url, Duration::from_secs(*seconds)))
        }
        Fault::PostgresDeadlocks { seconds } => {
            let during = Duration::from_secs(*seconds);
            let made = Handle::current().block_on(strangers::make_deadlocks(&url, during))?;
            ensure!(made > 0, "no deadlock came about");
            Ok(())
        }
        Fault::PostgresSlowFsync { seconds } => {
            let folder = world.with_stack(|stack| stack.backing.postgres.dir().to_owned());
            keep_disk_busy(&folder, Duration::from_secs(*seconds))
        }
        _ => bail!("{fault} is nothing that happens to PostgreSQL"),
    }
}

/// A new server refuses to start until the killed server's children have noticed.
pub(super) fn restart(world: &World) -> Result<()> {
    let deadline = Instant::now() + RESTART_LIMIT;
    world.with_stack(|stack| stack.backing.postgres.begin_restart())?;
    loop {
        thread::sleep(Duration::from_millis(300));
        let runs = world.with_stack(|stack| {
            let runs = stack.backing.postgres.runs()?;
            if !runs {
                stack.backing.postgres.begin_restart()?;
            }
            anyhow::Ok(runs)
        })?;
        if runs {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "PostgreSQL does not start again");
    }
}

/// Signals a process and its children.
fn signal_family(pid: u32, name: &str) -> Result<()> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let family = std::iter::once(pid.to_string()).chain(children.split_whitespace().map(str::to_owned));
    // One of them may already have ended by itself.
    std::process::Command::new("kill").args(["-s", name]).args(family).output()?;
    Ok(())
}

fn keep_disk_busy(folder: &Path, during: Duration) -> Result<()> {
    let path = folder.join("neighbour");
    let end = Instant::now() + during;
    let block = vec![7; 4 << 20];
    while Instant::now() < end {
        let mut file = fs::File::create(&path)?;
        for _ in 0..8 {
            file.write_all(&block)?;
            file.sync_all()?;
        }
    }
    Ok(fs::remove_file(&path)?)
}
