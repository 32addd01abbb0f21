//! Takes the node apart, whatever state it is in: running, half started, or what a crash left.
//!
//! It asks nothing of the node's own programs, which may be gone. Every process is in the node's cgroup,
//! every mount is below its directory, and every interface is in its namespace or a pod's. The order matters:
//! processes hold mounts, and mounts hold directories.

use std::{
    fs, io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{cgroup, layout::Layout, namespace};

/// Removes everything that a node made; does nothing if there is none. The store of images stays, because it
/// is a cache like the others.
pub(super) fn run(layout: &Layout) -> Result<()> {
    cgroup::kill_members()?;
    for directory in [layout.root(), layout.image_store()] {
        unmount_below(directory)?;
    }
    namespace::delete()?;
    cgroup::delete()?;
    remove_traces(layout)?;
    remove_directory(layout.root())
}

/// What is left of a node after [`run`]: nothing, or each thing by its kind.
pub(super) fn remains(layout: &Layout) -> Result<Vec<String>> {
    let mut remains: Vec<String> =
        cgroup::members()?.iter().map(|process| format!("process {process}")).collect();
    for directory in [layout.root(), layout.image_store()] {
        remains.extend(mounts_below(directory)?.iter().map(|mount| format!("mount {}", mount.display())));
    }
    remains.extend(cgroup::groups()?.iter().map(|group| format!("cgroup {}", group.display())));
    if namespace::exists() {
        remains.push("its network namespace".to_owned());
    }
    if layout.root().exists() {
        remains.push(format!("directory {}", layout.root().display()));
    }
    Ok(remains)
}

/// Unmounts the deepest first, and lazily, because what a killed container held may still be busy.
fn unmount_below(root: &Path) -> Result<()> {
    for mount in mounts_below(root)? {
        let output = Command::new("umount").arg("--lazy").arg(&mount).output().context("running umount")?;
        if !output.status.success() {
            bail!("umount {}: {}", mount.display(), String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    Ok(())
}

fn mounts_below(root: &Path) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
    // The kernel lists paths with their links resolved.
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    Ok(parse_mounts_below(&mounts, &root))
}

/// Mount points in the order in which they can be unmounted: last mounted, first unmounted.
fn parse_mounts_below(mountinfo: &str, root: &Path) -> Vec<PathBuf> {
    mountinfo
        .lines()
        .rev()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| PathBuf::from(path.replace("\\040", " ")))
        .filter(|path| path.starts_with(root))
        .collect()
}

/// Removes what containerd, the CNI plugins and the kubelet write outside the node's directory, at paths that
/// cannot be configured. Also removes the folders around it if they are empty.
fn remove_traces(layout: &Layout) -> Result<()> {
    let root = layout.root().display().to_string();
    // Results of CNI calls that containerd keeps; each names the pod's network namespace.
    remove_if("/var/lib/cni/results", |path| {
        fs::read_to_string(path).is_ok_and(|result| result.contains(&root))
    })?;
    // Links to the logs of our pods.
    remove_if("/var/log/containers", |path| {
        fs::read_link(path).is_ok_and(|target| target.starts_with(layout.root()))
    })?;
    // Sockets of killed shims and of the killed kubelet. A socket that answers belongs to another node.
    remove_if("/run/containerd/s", |path| UnixStream::connect(path).is_err())?;
    remove_if("/var/lib/kubelet/device-plugins", |path| UnixStream::connect(path).is_err())?;
    for folder in FOLDERS_AROUND {
        // Fails, as it should, if the folder is not empty.
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

const FOLDERS_AROUND: [&str; 7] = [
    "/run/containerd/s",
    "/run/containerd",
    "/var/lib/cni/results",
    "/var/lib/cni",
    "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet",
    "/var/log/containers",
];

fn remove_if(folder: &str, ours: impl Fn(&Path) -> bool) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("reading {folder}")),
    };
    for entry in entries {
        let path = entry?.path();
        if ours(&path) {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

/// Removes the node's directory. Refuses while something is mounted in it, because that would be emptied too.
fn remove_directory(root: &Path) -> Result<()> {
    if let Some(mount) = mounts_below(root)?.first() {
        bail!("{} is still mounted", mount.display());
    }
    match fs::remove_dir_all(root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", root.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "1 0 254:0 / / rw - ext4 /dev/vda rw
2 1 0:30 / /cache/node/state/a rw - overlay overlay rw
3 2 0:31 / /cache/node/state/a/shm rw - tmpfs shm rw
4 1 0:32 / /cache/nodes rw - tmpfs tmpfs rw
";

    #[test]
    fn the_deepest_mount_goes_first_and_neighbours_stay() {
        let mounts = parse_mounts_below(MOUNTS, Path::new("/cache/node"));
        assert_eq!(mounts, [PathBuf::from("/cache/node/state/a/shm"), PathBuf::from("/cache/node/state/a")]);
    }
}
