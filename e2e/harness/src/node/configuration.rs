//! The configuration files of the node's parts, as text.
//!
//! Where something differs from a usual node, its comment says so and why.

use super::layout::{ADDRESS, API_PORT, DNS_ADDRESS, Layout, NAME, POD_RANGE, POD_SUBNET, SERVICE_SUBNET};

/// A file of the node's configuration folder.
pub(super) struct File {
    pub(super) name: &'static str,
    pub(super) text: String,
}

/// All files that are written before anything starts.
pub(super) fn files(layout: &Layout, kubernetes_version: &str) -> Vec<File> {
    vec![
        File { name: "kubeadm.yaml", text: kubeadm(layout, kubernetes_version) },
        File { name: "containerd.toml", text: containerd(layout) },
        File { name: "kubelet.yaml", text: kubelet(layout) },
        File { name: "kube-proxy.yaml", text: kube_proxy(layout) },
        // Nothing may ask the outside, so even a pod with the node's own DNS asks the cluster's.
        File { name: "resolv.conf", text: format!("nameserver {DNS_ADDRESS}\n") },
    ]
}

/// For kubeadm's phases that make certificates and kubeconfigs. The keys are elliptic curves because RSA keys
/// take seconds.
fn kubeadm(layout: &Layout, version: &str) -> String {
    format!(
        "apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: {version}
certificatesDir: {pki}
controlPlaneEndpoint: 127.0.0.1:{API_PORT}
encryptionAlgorithm: ECDSA-P256
networking:
  podSubnet: {POD_SUBNET}
  serviceSubnet: {SERVICE_SUBNET}
apiServer:
  certSANs: [127.0.0.1, localhost, {ADDRESS}]
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint:
  advertiseAddress: {ADDRESS}
  bindPort: {API_PORT}
nodeRegistration:
  name: {NAME}
  criSocket: unix://{socket}
",
        pki = layout.pki().display(),
        socket = layout.containerd_socket().display(),
    )
}

/// `restrict_oom_score_adj`: root without `CAP_SYS_RESOURCE` may not lower a score, and no container starts
/// without this setting. Network namespaces are mounted below the node's directory, where tear-down finds
/// them.
fn containerd(layout: &Layout) -> String {
    format!(
        r#"version = 2
root = "{store}"
state = "{root}/state"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{cni}"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  Root = "{root}/runc"
"#,
        store = layout.image_store().join("containerd").display(),
        root = layout.containerd().display(),
        socket = layout.containerd_socket().display(),
        cni = layout.root().join("cni").display(),
    )
}

/// Debian's plugins: a bridge for the pods, addresses from a range, host ports for the ingress. They do not
/// enforce network policies.
pub(super) fn cni(layout: &Layout) -> String {
    format!(
        r#"{{
  "cniVersion": "1.0.0",
  "name": "{NAME}",
  "plugins": [
    {{
      "type": "bridge",
      "bridge": "pods0",
      "isGateway": true,
      "hairpinMode": true,
      "ipam": {{
        "type": "host-local",
        "dataDir": "{addresses}",
        "ranges": [[{{ "subnet": "{POD_RANGE}" }}]],
        "routes": [{{ "dst": "0.0.0.0/0" }}]
      }}
    }},
    {{ "type": "portmap", "capabilities": {{ "portMappings": true }} }}
  ]
}}
"#,
        addresses = layout.root().join("addresses").display(),
    )
}

/// `cgroupRoot` keeps all pods in the node's own cgroup, where tear-down finds every process. Images are
/// imported once, so they are never collected. Pods are evicted only when the disk is really full.
fn kubelet(layout: &Layout) -> String {
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous:
    enabled: false
  webhook:
    enabled: true
  x509:
    clientCAFile: {ca}
authorization:
  mode: Webhook
cgroupDriver: cgroupfs
cgroupRoot: /{NAME}
clusterDNS: [{DNS_ADDRESS}]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://{socket}
evictionHard:
  memory.available: 100Mi
  nodefs.available: 1%
  imagefs.available: 1%
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
oomScoreAdj: 0
podLogsDir: {root}/pods
resolvConf: {root}/configuration/resolv.conf
rotateCertificates: false
volumePluginDir: {plugins}
",
        ca = layout.pki().join("ca.crt").display(),
        socket = layout.containerd_socket().display(),
        root = layout.root().display(),
        plugins = layout.plugins().display(),
    )
}

/// Connection tracking is a setting of the whole kernel, so we leave it as it is.
fn kube_proxy(layout: &Layout) -> String {
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection:
  kubeconfig: {kubeconfig}
clusterCIDR: {POD_SUBNET}
conntrack:
  maxPerCore: 0
  min: 0
hostnameOverride: {NAME}
oomScoreAdj: 0
",
        kubeconfig = layout.kubeconfig("kube-proxy").display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_starts_without_the_right_to_lower_its_oom_score() {
        assert!(containerd(&Layout::new()).contains("restrict_oom_score_adj = true"));
    }

    #[test]
    fn the_api_server_is_known_by_the_addresses_it_is_called_by() {
        let text = kubeadm(&Layout::new(), "v1.34.4");
        assert!(text.contains("certSANs: [127.0.0.1, localhost, 10.77.0.2]"));
        assert!(text.contains("kubernetesVersion: v1.34.4"));
    }

    #[test]
    fn every_file_lies_below_the_nodes_directory() {
        let layout = Layout::new();
        let root = layout.root().display().to_string();
        for file in files(&layout, "v1.34.4") {
            for line in file.text.lines().filter(|line| line.contains("/pki") || line.contains(".sock")) {
                assert!(line.contains(&root), "{}: {line}", file.name);
            }
        }
    }

    #[test]
    fn pods_ask_the_address_that_the_dns_service_has() {
        assert!(kubelet(&Layout::new()).contains(&format!("clusterDNS: [{DNS_ADDRESS}]")));
        assert!(include_str!("manifests/dns.yaml").contains(&format!("clusterIP: {DNS_ADDRESS}")));
    }
}
