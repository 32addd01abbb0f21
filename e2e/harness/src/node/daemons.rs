//! The daemons of the node and their flags, in the order in which they can start.

use std::path::Path;

use super::{
    daemon::Daemon,
    layout::{ADDRESS, API_PORT, Layout, NAME, POD_SUBNET, SERVICE_SUBNET},
};

const ETCD: &str = "http://127.0.0.1:2379";

/// These start first, side by side with containerd: they need only their files.
pub(super) fn control_plane(layout: &Layout, kubernetes: &Path) -> Vec<Daemon> {
    vec![etcd(layout), kube_apiserver(layout, kubernetes)]
}

/// These start once the API server is ready. Before that its RBAC rules do not exist, and these would exit.
pub(super) fn the_rest(layout: &Layout, kubernetes: &Path) -> Vec<Daemon> {
    vec![
        kube_controller_manager(layout, kubernetes),
        kube_scheduler(layout, kubernetes),
        kubelet(layout, kubernetes),
        kube_proxy(layout, kubernetes),
    ]
}

/// Plain HTTP on loopback: only the node is in the namespace. Its data is removed with the node, so waiting
/// for the disk would gain nothing.
fn etcd(layout: &Layout) -> Daemon {
    Daemon {
        name: "etcd",
        program: "etcd".into(),
        arguments: flags(&[
            ("data-dir", &path(&layout.etcd())),
            ("listen-client-urls", ETCD),
            ("advertise-client-urls", ETCD),
            ("listen-peer-urls", "http://127.0.0.1:2380"),
            ("unsafe-no-fsync", "true"),
        ]),
    }
}

pub(super) fn containerd(layout: &Layout) -> Daemon {
    Daemon {
        name: "containerd",
        program: "containerd".into(),
        arguments: vec!["--config".to_owned(), path(&layout.configuration("containerd.toml"))],
    }
}

/// The node's name does not resolve anywhere, hence `kubelet-preferred-address-types`.
fn kube_apiserver(layout: &Layout, kubernetes: &Path) -> Daemon {
    let pki = |file: &str| path(&layout.pki().join(file));
    Daemon {
        name: "kube-apiserver",
        program: kubernetes.join("kube-apiserver"),
        arguments: flags(&[
            ("advertise-address", ADDRESS),
            ("allow-privileged", "true"),
            ("authorization-mode", "Node,RBAC"),
            ("client-ca-file", &pki("ca.crt")),
            ("enable-admission-plugins", "NodeRestriction"),
            ("etcd-servers", ETCD),
            ("kubelet-client-certificate", &pki("apiserver-kubelet-client.crt")),
            ("kubelet-client-key", &pki("apiserver-kubelet-client.key")),
            ("kubelet-preferred-address-types", "InternalIP"),
            ("proxy-client-cert-file", &pki("front-proxy-client.crt")),
            ("proxy-client-key-file", &pki("front-proxy-client.key")),
            ("requestheader-allowed-names", "front-proxy-client"),
            ("requestheader-client-ca-file", &pki("front-proxy-ca.crt")),
            ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
            ("requestheader-group-headers", "X-Remote-Group"),
            ("requestheader-username-headers", "X-Remote-User"),
            ("secure-port", &API_PORT.to_string()),
            ("service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
            ("service-account-key-file", &pki("sa.pub")),
            ("service-account-signing-key-file", &pki("sa.key")),
            ("service-cluster-ip-range", SERVICE_SUBNET),
            ("tls-cert-file", &pki("apiserver.crt")),
            ("tls-private-key-file", &pki("apiserver.key")),
        ]),
    }
}

fn kube_controller_manager(layout: &Layout, kubernetes: &Path) -> Daemon {
    let pki = |file: &str| path(&layout.pki().join(file));
    let kubeconfig = path(&layout.kubeconfig("controller-manager"));
    Daemon {
        name: "kube-controller-manager",
        program: kubernetes.join("kube-controller-manager"),
        arguments: flags(&[
            ("authentication-kubeconfig", &kubeconfig),
            ("authorization-kubeconfig", &kubeconfig),
            ("cluster-cidr", POD_SUBNET),
            ("cluster-signing-cert-file", &pki("ca.crt")),
            ("cluster-signing-key-file", &pki("ca.key")),
            ("flex-volume-plugin-dir", &path(&layout.plugins())),
            ("kubeconfig", &kubeconfig),
            ("leader-elect", "false"),
            ("requestheader-client-ca-file", &pki("front-proxy-ca.crt")),
            ("root-ca-file", &pki("ca.crt")),
            ("service-account-private-key-file", &pki("sa.key")),
            ("service-cluster-ip-range", SERVICE_SUBNET),
            ("use-service-account-credentials", "true"),
        ]),
    }
}

fn kube_scheduler(layout: &Layout, kubernetes: &Path) -> Daemon {
    let kubeconfig = path(&layout.kubeconfig("scheduler"));
    Daemon {
        name: "kube-scheduler",
        program: kubernetes.join("kube-scheduler"),
        arguments: flags(&[
            ("authentication-kubeconfig", &kubeconfig),
            ("authorization-kubeconfig", &kubeconfig),
            ("kubeconfig", &kubeconfig),
            ("leader-elect", "false"),
        ]),
    }
}

fn kubelet(layout: &Layout, kubernetes: &Path) -> Daemon {
    Daemon {
        name: "kubelet",
        program: kubernetes.join("kubelet"),
        arguments: flags(&[
            ("cert-dir", &path(&layout.pki().join("kubelet"))),
            ("config", &path(&layout.configuration("kubelet.yaml"))),
            ("hostname-override", NAME),
            ("kubeconfig", &path(&layout.kubeconfig("kubelet"))),
            ("node-ip", ADDRESS),
            ("root-dir", &path(&layout.kubelet())),
        ]),
    }
}

fn kube_proxy(layout: &Layout, kubernetes: &Path) -> Daemon {
    Daemon {
        name: "kube-proxy",
        program: kubernetes.join("kube-proxy"),
        arguments: flags(&[("config", &path(&layout.configuration("kube-proxy.yaml")))]),
    }
}

fn flags(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs.iter().map(|(flag, value)| format!("--{flag}={value}")).collect()
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
