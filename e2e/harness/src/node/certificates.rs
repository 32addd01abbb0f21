//! The cluster's certificates and the kubeconfigs of its parts, made by kubeadm as for any cluster.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::layout::Layout;
use crate::{command, step};

const LIMIT: Duration = Duration::from_mins(1);

pub(super) fn create(layout: &Layout, kubernetes: &Path) -> Result<()> {
    let configuration = layout.configuration("kubeadm.yaml");
    let kubeadm = || {
        let mut command = Command::new(kubernetes.join("kubeadm"));
        command.args(["init", "phase"]);
        command
    };
    command::run(
        kubeadm().args(["certs", "all", "--config"]).arg(&configuration),
        &layout.log("kubeadm-certs"),
        LIMIT,
    )?;
    let kubelet = layout.kubeconfig("kubelet");
    let folder = kubelet.parent().context("a kubeconfig lies in a folder")?;
    command::run(
        kubeadm()
            .args(["kubeconfig", "all", "--kubeconfig-dir"])
            .arg(folder)
            .arg("--config")
            .arg(&configuration),
        &layout.log("kubeadm-kubeconfigs"),
        LIMIT,
    )?;
    kube_proxy(layout, kubernetes, &configuration)
}

/// kubeadm runs kube-proxy as a pod with a service account. Ours is a process, so it uses the user name that
/// RBAC knows by default.
fn kube_proxy(layout: &Layout, kubernetes: &Path, configuration: &Path) -> Result<()> {
    let path = layout.kubeconfig("kube-proxy");
    let output = Command::new(kubernetes.join("kubeadm"))
        .args(["kubeconfig", "user", "--client-name", "system:kube-proxy", "--config"])
        .arg(configuration)
        .stdin(Stdio::null())
        .stderr(File::create(layout.log("kubeadm-kube-proxy"))?)
        .output()
        .context("running kubeadm")?;
    if !output.status.success() {
        bail!("kubeadm ended with {}\n{}", output.status, step::tail(&layout.log("kubeadm-kube-proxy")));
    }
    fs::write(path, output.stdout)?;
    Ok(())
}
