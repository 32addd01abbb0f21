//! The image that others build on: a minimal Debian 12 made from its packages, under the name of the official
//! image.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Result;

use super::log;
use crate::{cache, command, step};

pub(super) const NAME: &str = "docker.io/library/debian:bookworm-slim";
const LIMIT: Duration = Duration::from_mins(10);

/// What the base is made of and what it leaves out. `usr-is-merged` takes the place of a package that needs
/// all of Perl. Nobody reads manuals and translations in a container; copyright files stay, as their licences
/// demand. apt keeps neither archives nor an index, as in the official image, so a Containerfile need not
/// clean up after it.
const OPTIONS: [&str; 10] = [
    "--variant=minbase",
    "--include=ca-certificates,usr-is-merged",
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--aptopt=APT::Install-Recommends \"false\"",
    r#"--customize-hook=printf '%s\n' \
        'APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };' \
        'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };' \
        'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";' \
        >"$1/etc/apt/apt.conf.d/keep-nothing" && rm -f "$1"/var/cache/apt/*.bin"#,
];

pub(super) fn key() -> String {
    cache::key(&[&[NAME, "bookworm"], OPTIONS.as_slice()].concat())
}

/// The root file system of the base image as a tar file.
pub(super) fn root_file_system() -> Result<PathBuf> {
    let entry = cache::entry("base-image", &key(), |into| {
        step::step("Make the base image from Debian's packages", || {
            command::run(
                Command::new("mmdebstrap").args(OPTIONS).arg("bookworm").arg(into.join("base.tar")),
                &log("base-image"),
                LIMIT,
            )?;
            fs::write(into.join("Containerfile"), "FROM scratch\nADD base.tar /\nCMD [\"bash\"]\n")?;
            Ok(())
        })
    })?;
    Ok(entry)
}

/// Loads the base into buildah's store under two names: the one that Containerfiles use, and one that says
/// which base it is.
pub(super) fn load(entry: &Path) -> Result<()> {
    let this_base = format!("localhost/rocketmart-base:{}", key());
    if buildah().args(["inspect", "--type", "image", &this_base]).output()?.status.success() {
        return Ok(());
    }
    command::run(
        buildah().args(["build", "--pull=never", "--tag", NAME, "--tag", &this_base]).arg(entry),
        &log("base-image-load"),
        LIMIT,
    )
}

/// Buildah with its own store, so that it touches nothing of the machine's. Where cgroups are mounted in both
/// versions, only chroot isolation works.
pub(super) fn buildah() -> Command {
    let mut command = Command::new("buildah");
    command.arg("--root").arg(cache::root().join("buildah")).args(["--runroot", "/run/rocketmart-buildah"]);
    command.env("BUILDAH_ISOLATION", "chroot");
    command
}
