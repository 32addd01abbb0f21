//! A real API server with etcd and nothing else, up in seconds, for the operator's tests.
//!
//! There is no kubelet and no controller manager, so Deployments do not become ready by themselves and
//! nothing collects what an owner left behind. CEL, defaulting, RBAC and server-side apply are the real ones.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    command, ports, prepare,
    process::{self, Process, Server},
    step,
};

const START_LIMIT: Duration = Duration::from_mins(1);
/// kubeadm wants an address that is not loopback; this one only ends up among the certificate's names.
const DOCUMENTATION_ADDRESS: &str = "192.0.2.1";

/// etcd and kube-apiserver on loopback. Dropping this ends both and removes their data.
#[derive(Debug)]
pub struct ApiServer {
    server: Server,
    // Declared before etcd, so dropped first.
    process: Process,
    _etcd: Process,
    port: u16,
    dir: PathBuf,
}

impl ApiServer {
    pub fn start() -> Result<Self> {
        let binaries = prepare::kubernetes_binaries()?;
        let dir = process::scratch("apiserver")?;
        let (port, etcd_port) = (ports::free_port()?, ports::free_port()?);
        make_certificates(&binaries, &dir, port)?;
        let etcd = etcd(&dir, etcd_port, ports::free_port()?).start(etcd_port, START_LIMIT)?;
        let server = kube_apiserver(&binaries, &dir, port, etcd_port);
        let process = server.start(port, START_LIMIT)?;
        let server = Self { server, process, _etcd: etcd, port, dir };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// A kubeconfig of an administrator (group `system:masters`).
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("super-admin.conf")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGKILL; everything stored stays for [`ApiServer::restart`].
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts again on the same port and data.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = self.server.start(self.port, START_LIMIT)?;
        self.wait_until_ready()
    }

    /// Runs kubectl as the administrator and returns what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let program = prepare::kubernetes_binaries()?.join("kubectl");
        let output =
            Command::new(program).arg("--kubeconfig").arg(self.kubeconfig()).args(arguments).output()?;
        if !output.status.success() {
            bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn wait_until_ready(&self) -> Result<()> {
        step::wait_until("the API server's /readyz", START_LIMIT, || {
            self.kubectl(&["get", "--raw", "/readyz"]).is_ok()
        })
        .with_context(|| step::tail(&self.server.log))
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.process.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// kubeadm makes the same certificates and kubeconfigs as for a real cluster. The keys are elliptic curves
/// because RSA keys take seconds.
fn make_certificates(binaries: &Path, dir: &Path, port: u16) -> Result<()> {
    let configuration = dir.join("kubeadm.yaml");
    fs::write(
        &configuration,
        format!(
            "apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.34.4
certificatesDir: {pki}
controlPlaneEndpoint: 127.0.0.1:{port}
encryptionAlgorithm: ECDSA-P256
apiServer:
  certSANs: [127.0.0.1, localhost]
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint:
  advertiseAddress: {DOCUMENTATION_ADDRESS}
  bindPort: {port}
",
            pki = dir.join("pki").display()
        ),
    )?;
    let kubeadm = || {
        let mut command = Command::new(binaries.join("kubeadm"));
        command.args(["init", "phase"]);
        command
    };
    let log = dir.join("kubeadm.log");
    command::run(kubeadm().args(["certs", "all", "--config"]).arg(&configuration), &log, START_LIMIT)?;
    command::run(
        kubeadm()
            .args(["kubeconfig", "super-admin", "--kubeconfig-dir"])
            .arg(dir)
            .arg("--config")
            .arg(&configuration),
        &log,
        START_LIMIT,
    )
}

fn etcd(dir: &Path, port: u16, peer_port: u16) -> Server {
    let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer_port}"));
    Server {
        name: "etcd",
        program: "etcd".into(),
        arguments: [
            ("--data-dir", dir.join("etcd").display().to_string()),
            ("--listen-client-urls", client.clone()),
            ("--advertise-client-urls", client),
            ("--listen-peer-urls", peer.clone()),
            ("--initial-advertise-peer-urls", peer.clone()),
            ("--initial-cluster", format!("default={peer}")),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .chain(["--unsafe-no-fsync".to_owned()])
        .collect(),
        environment: vec![],
        log: dir.join("etcd.log"),
        user: None,
    }
}

fn kube_apiserver(binaries: &Path, dir: &Path, port: u16, etcd_port: u16) -> Server {
    let pki = |file: &str| dir.join("pki").join(file).display().to_string();
    Server {
        name: "kube-apiserver",
        program: binaries.join("kube-apiserver"),
        arguments: [
            ("etcd-servers", format!("http://127.0.0.1:{etcd_port}")),
            ("bind-address", "127.0.0.1".into()),
            ("advertise-address", "127.0.0.1".into()),
            ("secure-port", port.to_string()),
            ("service-cluster-ip-range", "10.96.0.0/16".into()),
            ("authorization-mode", "Node,RBAC".into()),
            ("client-ca-file", pki("ca.crt")),
            ("tls-cert-file", pki("apiserver.crt")),
            ("tls-private-key-file", pki("apiserver.key")),
            ("service-account-issuer", "https://kubernetes.default.svc.cluster.local".into()),
            ("service-account-key-file", pki("sa.pub")),
            ("service-account-signing-key-file", pki("sa.key")),
            // No controller makes the default ServiceAccount of a namespace.
            ("disable-admission-plugins", "ServiceAccount".into()),
        ]
        .into_iter()
        .map(|(flag, value)| format!("--{flag}={value}"))
        .collect(),
        environment: vec![],
        log: dir.join("kube-apiserver.log"),
        user: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_is_there_after_the_api_server_crashed() -> Result<()> {
        let mut server = ApiServer::start()?;
        server.kubectl(&["create", "namespace", "shop"])?;
        server.kill();
        assert!(server.kubectl(&["get", "namespace", "shop"]).is_err());
        server.restart()?;
        server.kubectl(&["get", "namespace", "shop"]).map(drop)
    }
}
