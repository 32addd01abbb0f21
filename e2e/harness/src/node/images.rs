//! Images on the node: archives imported into containerd, each content once.
//!
//! containerd's store outlives the node. Besides the images it keeps records of the containers that the node
//! had when it was taken apart. We forget them before a kubelet could take them for its own.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, bail};

use super::layout::Layout;
use crate::{command, prepare::Image};

const LIMIT: Duration = Duration::from_mins(5);

/// Imports an image, unless this very archive was imported before.
pub(super) fn import(layout: &Layout, image: &Image) -> Result<()> {
    if is_imported(layout, image) {
        return Ok(());
    }
    command::run(
        ctr(layout).args(["images", "import"]).arg(&image.archive),
        &layout.log("image-import"),
        LIMIT,
    )?;
    // An archive's path names its content, so remembering the path is enough.
    fs::write(layout.imported(&image.name), image.archive.display().to_string())?;
    Ok(())
}

/// Whether the store has the image with exactly this content.
pub(super) fn is_imported(layout: &Layout, image: &Image) -> bool {
    fs::read_to_string(layout.imported(&image.name))
        .is_ok_and(|archive| archive == image.archive.display().to_string())
}

/// Whether containerd is up.
pub(super) fn store_answers(layout: &Layout) -> bool {
    layout.containerd_socket().exists() && containers(layout).is_ok()
}

/// Forgets the containers of an earlier node and returns whether there were any. If so, containerd must be
/// started again, because it read them when it started.
pub(super) fn forget_containers(layout: &Layout) -> Result<bool> {
    let containers = containers(layout)?;
    if containers.is_empty() {
        return Ok(false);
    }
    command::run(
        ctr(layout).args(["containers", "rm"]).args(containers),
        &layout.log("containers-remove"),
        LIMIT,
    )?;
    Ok(true)
}

fn containers(layout: &Layout) -> Result<Vec<String>> {
    let output = ctr(layout).args(["containers", "ls", "--quiet"]).output().context("running ctr")?;
    if !output.status.success() {
        bail!("ctr containers ls: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

fn ctr(layout: &Layout) -> Command {
    let mut command = Command::new("ctr");
    command.arg("--address").arg(layout.containerd_socket()).args(["--namespace", "k8s.io"]);
    command
}
