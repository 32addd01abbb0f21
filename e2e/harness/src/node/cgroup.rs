//! The node's control group: everything that the node started is in it.
//!
//! Daemons start inside `/rocketmart/system`, and what they fork (containerd's shims) stays there. The
//! kubelet puts every pod below `/rocketmart/kubepods`. So the members of the group are exactly the processes
//! that tear-down has to end, even after a crash that left no other trace.
//!
//! A machine with cgroup v1 (also mixed with v2) has one hierarchy per controller; with v2 alone there is
//! one. We follow processes in one hierarchy, and make and remove the groups in all of them.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::layout::NAME;

const KILL_LIMIT: Duration = Duration::from_secs(30);

/// The mount points of all hierarchies.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("reading the mounts")?;
    Ok(parse_hierarchies(&mounts))
}

fn parse_hierarchies(mounts: &str) -> Vec<PathBuf> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (path, kind) = (fields.nth(1)?, fields.next()?);
            (kind == "cgroup" || kind == "cgroup2").then(|| path.into())
        })
        .collect()
}

/// The hierarchy in which we follow daemons: `pids` of v1, or the only one of v2.
fn followed(hierarchies: &[PathBuf]) -> Option<&PathBuf> {
    hierarchies.iter().find(|path| path.ends_with("pids")).or_else(|| hierarchies.first())
}

/// Makes the node's group in every hierarchy.
pub(super) fn create() -> Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(NAME).join("system");
        fs::create_dir_all(&group).with_context(|| format!("making {}", group.display()))?;
    }
    Ok(())
}

/// A process that writes its id to this file becomes a member.
pub(super) fn members_file() -> Result<PathBuf> {
    let hierarchies = hierarchies()?;
    let hierarchy = followed(&hierarchies).context("no cgroup hierarchy is mounted")?;
    Ok(hierarchy.join(NAME).join("system/cgroup.procs"))
}

/// Whether a process is one of the node's.
pub(super) fn has(pid: u32) -> bool {
    let of_the_node = format!(":/{NAME}/");
    fs::read_to_string(format!("/proc/{pid}/cgroup"))
        .is_ok_and(|groups| groups.lines().any(|line| line.contains(&of_the_node)))
}

/// Kills the node's processes with SIGKILL until none is left.
pub(super) fn kill_members() -> Result<()> {
    let deadline = Instant::now() + KILL_LIMIT;
    loop {
        let members = members()?;
        if members.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("processes {members:?} of the node do not end");
        }
        let ids = members.iter().map(u32::to_string);
        // A process may have ended meanwhile; the next look decides.
        let _ = Command::new("kill").args(["-s", "KILL"]).args(ids).stderr(Stdio::null()).status();
        thread::sleep(Duration::from_millis(20));
    }
}

/// Removes the node's group from every hierarchy, leaves first.
pub(super) fn delete() -> Result<()> {
    groups()?.iter().try_for_each(|group| remove_tree(group))
}

/// The node's group in each hierarchy that has it.
pub(super) fn groups() -> Result<Vec<PathBuf>> {
    let groups = hierarchies()?.into_iter().map(|hierarchy| hierarchy.join(NAME));
    Ok(groups.filter(|group| group.exists()).collect())
}

/// The processes of the node.
pub(super) fn members() -> Result<BTreeSet<u32>> {
    let mut members = BTreeSet::new();
    for group in groups()? {
        collect_members(&group, &mut members)?;
    }
    Ok(members)
}

fn collect_members(group: &Path, members: &mut BTreeSet<u32>) -> Result<()> {
    if let Ok(ids) = fs::read_to_string(group.join("cgroup.procs")) {
        members.extend(ids.lines().filter_map(|id| id.parse::<u32>().ok()).filter(|id| !ended(*id)));
    }
    for child in groups_in(group)? {
        collect_members(&child, members)?;
    }
    Ok(())
}

/// A process that has ended stays a member until its parent has asked how. There is nothing left to kill.
pub(super) fn ended(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])))
}

fn remove_tree(group: &Path) -> Result<()> {
    for child in groups_in(group)? {
        remove_tree(&child)?;
    }
    let deadline = Instant::now() + KILL_LIMIT;
    loop {
        match fs::remove_dir(group) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // The kernel needs a moment to forget the last member.
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error).with_context(|| format!("removing cgroup {}", group.display())),
        }
    }
}

fn groups_in(group: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(group) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(error).with_context(|| format!("reading cgroup {}", group.display())),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIXED: &str = "tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
";

    #[test]
    fn groups_are_made_in_every_hierarchy_and_processes_followed_in_one() {
        let hierarchies = parse_hierarchies(MIXED);
        assert_eq!(hierarchies.len(), 3);
        assert_eq!(followed(&hierarchies), Some(&PathBuf::from("/sys/fs/cgroup/pids")));
    }

    #[test]
    fn the_one_hierarchy_of_version_2_serves_alone() {
        let hierarchies = parse_hierarchies("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n");
        assert_eq!(followed(&hierarchies), Some(&PathBuf::from("/sys/fs/cgroup")));
    }

    #[test]
    fn a_process_outside_is_not_the_nodes() {
        assert!(!has(1));
    }
}
