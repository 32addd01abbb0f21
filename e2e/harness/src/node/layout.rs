//! Where the node's parts are on disk, and the addresses they have.

use std::path::{Path, PathBuf};

use crate::cache;

/// The name of the network namespace that the whole node lives in, of the Kubernetes node, and of its cgroup.
pub(super) const NAME: &str = "rocketmart";
/// The node's own address, on a bridge inside its namespace. Nothing outside has a route to it.
pub const ADDRESS: &str = "10.77.0.2";
pub(super) const ADDRESS_WITH_PREFIX: &str = "10.77.0.2/24";
pub(super) const POD_SUBNET: &str = "10.244.0.0/16";
/// The node's share of the pod subnet; all pods are in it.
pub(super) const POD_RANGE: &str = "10.244.0.0/24";
pub(super) const SERVICE_SUBNET: &str = "10.96.0.0/16";
pub(super) const DNS_ADDRESS: &str = "10.96.0.10";
pub(super) const API_PORT: u16 = 6443;

/// The files of a node. All but the images are below one directory.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
    image_store: PathBuf,
}

impl Layout {
    pub(super) fn new() -> Self {
        Self { root: cache::root().join("node"), image_store: cache::root().join("image-store") }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Certificates and keys of the cluster.
    pub(super) fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    /// The kubeconfig of a part of the cluster, e.g. `scheduler`.
    pub(super) fn kubeconfig(&self, of: &str) -> PathBuf {
        self.root.join("kubeconfigs").join(format!("{of}.conf"))
    }

    pub(super) fn configuration(&self, file: &str) -> PathBuf {
        self.root.join("configuration").join(file)
    }

    pub(super) fn log(&self, of: &str) -> PathBuf {
        self.root.join("logs").join(format!("{of}.log"))
    }

    /// The file that holds the process id of a running part.
    pub(super) fn pid(&self, of: &str) -> PathBuf {
        self.root.join("pids").join(of)
    }

    pub(super) fn etcd(&self) -> PathBuf {
        self.root.join("etcd")
    }

    pub(super) fn containerd(&self) -> PathBuf {
        self.root.join("containerd")
    }

    /// Images and their unpacked layers. The store outlives the node, because importing takes longer than
    /// everything else.
    pub(super) fn image_store(&self) -> &Path {
        &self.image_store
    }

    pub(super) fn containerd_socket(&self) -> PathBuf {
        self.root.join("containerd.sock")
    }

    pub(super) fn kubelet(&self) -> PathBuf {
        self.root.join("kubelet")
    }

    /// The folder for volume plugins, of which there are none.
    pub(super) fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }

    /// The folder of a persistent volume.
    pub(super) fn volume(&self, number: usize) -> PathBuf {
        self.root.join("volumes").join(format!("{number:02}"))
    }

    /// The marker of an imported image, next to the store that holds it.
    pub(super) fn imported(&self, image: &str) -> PathBuf {
        self.image_store.join("imported").join(image.replace(['/', ':'], "_"))
    }

    /// The marker of a node that came up, naming the binaries it runs.
    pub(super) fn complete(&self) -> PathBuf {
        self.root.join("complete")
    }

    /// All folders that have to exist before anything starts.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        ["kubeconfigs", "configuration", "cni", "logs", "pids", "pods", "volumes"]
            .iter()
            .map(|folder| self.root.join(folder))
            .chain([self.etcd(), self.kubelet(), self.plugins(), self.image_store.join("imported")])
            .collect()
    }
}
