//! A certificate authority for one test, and a certificate for 127.0.0.1 that it signed.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// PEM files of a server that speaks TLS on loopback.
#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) authority: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Certificates {
    /// The files that were made beside this authority's file.
    pub(super) fn beside(authority: &Path) -> Self {
        let file = |name: &str| authority.with_file_name(name);
        Self { authority: file("ca.crt"), certificate: file("server.crt"), key: file("server.key") }
    }

    /// Makes them in `dir`.
    pub(super) fn make(dir: &Path) -> Result<Self> {
        let Self { authority, certificate, key } = Self::beside(&dir.join("ca.crt"));
        let authority_key = dir.join("ca.key");
        openssl(
            Command::new("openssl")
                .args(["req", "-x509", "-subj", "/CN=authority", "-keyout"])
                .arg(authority_key.as_os_str())
                .arg("-out")
                .arg(&authority),
        )?;
        openssl(
            Command::new("openssl")
                .args(["req", "-x509", "-subj", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1"])
                .args(["-addext", "basicConstraints=critical,CA:FALSE", "-CA"])
                .arg(&authority)
                .arg("-CAkey")
                .arg(&authority_key)
                .arg("-keyout")
                .arg(&key)
                .arg("-out")
                .arg(&certificate),
        )?;
        Ok(Self { authority, certificate, key })
    }
}

fn openssl(command: &mut Command) -> Result<()> {
    let output = command
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .output()
        .context("running openssl")?;
    if !output.status.success() {
        bail!("openssl req: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
