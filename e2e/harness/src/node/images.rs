//! Images on the node: archives imported into containerd, each content once.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::Result;

use super::layout::Layout;
use crate::{prepare::Image, step};

const LIMIT: Duration = Duration::from_mins(5);

/// Imports an image unless this very archive was imported before.
pub(super) fn import(layout: &Layout, image: &Image) -> Result<()> {
    if is_imported(layout, image) {
        return Ok(());
    }
    step::run(&mut command(layout, &image.archive), &layout.log("image-import"), LIMIT)?;
    // An archive's path names its content, so the path is what has to be remembered.
    fs::write(layout.imported(&image.name), image.archive.display().to_string())?;
    Ok(())
}

/// Whether the node has the image with exactly this content.
pub(super) fn is_imported(layout: &Layout, image: &Image) -> bool {
    fs::read_to_string(layout.imported(&image.name))
        .is_ok_and(|archive| archive == image.archive.display().to_string())
}

fn command(layout: &Layout, archive: &Path) -> Command {
    let mut command = Command::new("ctr");
    command
        .arg("--address")
        .arg(layout.containerd_socket())
        .args(["--namespace", "k8s.io", "images", "import"])
        .arg(archive);
    command
}
