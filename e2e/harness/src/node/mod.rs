//! A genuine Kubernetes node on this machine, without Docker and without pulling an image.
//!
//! ```text
//!  network namespace `rocketmart`, 10.77.0.2
//!  ┌─────────────────────────────────────────────────────────────────────────┐
//!  │ etcd ── kube-apiserver ── controller-manager, scheduler, kube-proxy     │
//!  │                └────────── kubelet ── containerd ── pods (10.244.0.0/24)│
//!  │                                          CoreDNS, Contour and Envoy :80 │
//!  └─────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! All processes are in the cgroup `rocketmart`, all files in one directory of the cache; tear-down relies on
//! both. Whatever talks to the cluster also runs inside the namespace ([`Node::command`]).

mod certificates;
mod cgroup;
mod check;
mod configuration;
mod daemon;
mod daemons;
mod images;
mod layout;
mod namespace;
mod teardown;
mod volumes;

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};

pub use self::{check::survives_a_crash_and_leaves_nothing, layout::ADDRESS};
use self::{daemon::Daemon, layout::Layout};
use crate::{
    cluster::Cluster,
    prepare::{self, Image, Prepared},
    process,
    programs::Speed,
    step,
};

const READY_LIMIT: Duration = Duration::from_mins(2);
/// For `kubectl wait`; busy cores make starting slow.
const ROLLOUT_LIMIT: &str = "--timeout=180s";
const DNS: &str = include_str!("manifests/dns.yaml");
const ACCESS: &str = include_str!("manifests/access.yaml");
const GATEWAY: &str = include_str!("manifests/gateway.yaml");

/// A node that is up. Dropping it leaves it up; [`Node::down`] removes it.
#[derive(Debug, Clone)]
pub struct Node {
    layout: Layout,
    cluster: Cluster,
}

impl Node {
    /// Prepares everything, our own image included, and brings the node up.
    pub fn up(speed: Speed) -> Result<Self> {
        Self::up_with(&prepare::all(speed)?)
    }

    /// Brings the node up from what was prepared. A node that is already up stays and gets the images that
    /// changed. What a crash left is removed first.
    pub fn up_with(prepared: &Prepared) -> Result<Self> {
        if !process::running_as_root() {
            bail!("a node needs root: it makes a network namespace, cgroups and mounts");
        }
        let node = Self::at(Layout::new(), &prepared.kubernetes, &prepared.helm);
        if node.is_healthy(prepared) {
            node.import_images(&prepared.images)?;
            return Ok(node);
        }
        step::step("Remove what an earlier node left", Self::down)?;
        step::step("Start the control plane", || node.start_control_plane(prepared))?;
        // The kubelet needs the image of `pause` before any other.
        node.import_images(&prepared.images)?;
        step::step("Start the node and its DNS", || node.start_kubelet(prepared))?;
        step::step("Start the ingress (Contour and Envoy)", || node.wait_for_ingress())?;
        fs::write(node.layout.complete(), identity(prepared))?;
        Ok(node)
    }

    /// The node of this machine, if it is up.
    pub fn find() -> Result<Option<Self>> {
        let layout = Layout::new();
        if !layout.complete().exists() || !namespace::exists() {
            return Ok(None);
        }
        Ok(Some(Self::at(layout, &prepare::kubernetes_binaries()?, &prepare::helm()?)))
    }

    /// The node of this machine; fails when it is not up.
    pub fn running() -> Result<Self> {
        Self::find()?.context("the node is not up (`cargo xtask up`)")
    }

    /// Removes the node and everything it made, whatever state it is in.
    pub fn down() -> Result<()> {
        teardown::run(&Layout::new())
    }

    /// The cluster of this node.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub fn kubeconfig(&self) -> &Path {
        self.cluster.kubeconfig()
    }

    /// A command that runs in the node's network namespace, with `KUBECONFIG` set.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.cluster.command(program)
    }

    /// Runs kubectl and returns what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.kubectl(arguments)
    }

    /// Runs Helm and returns what it printed.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.helm(arguments)
    }

    /// Imports an image, unless the node already has this very content.
    pub fn import_image(&self, image: &Image) -> Result<()> {
        images::import(&self.layout, image)
    }

    /// Empties the volumes whose claims were deleted, so that they can be claimed again.
    pub fn reclaim_volumes(&self) -> Result<()> {
        volumes::reclaim(&self.layout, &self.cluster)
    }

    /// Shows that the node works: a pod runs, finds a Service by name and reaches it, and the Service
    /// answers through the ingress. Leaves nothing behind.
    pub fn check(&self) -> Result<()> {
        check::run(&self.cluster)
    }

    fn at(layout: Layout, kubernetes: &Path, helm: &Path) -> Self {
        let cluster = Cluster::in_namespace(
            layout.kubeconfig("super-admin"),
            kubernetes.join("kubectl"),
            helm.to_owned(),
            namespace::enter().to_vec(),
        );
        Self { layout, cluster }
    }

    /// Whether it came up with these very binaries, all its programs run, and the API server answers.
    fn is_healthy(&self, prepared: &Prepared) -> bool {
        fs::read_to_string(self.layout.complete()).is_ok_and(|made_from| made_from == identity(prepared))
            && self.daemons(prepared).iter().all(|daemon| daemon::runs(&self.layout, daemon.name))
            && self.api_server_is_ready()
    }

    fn daemons(&self, prepared: &Prepared) -> Vec<Daemon> {
        let mut daemons = vec![daemons::containerd(&self.layout)];
        daemons.extend(daemons::control_plane(&self.layout, &prepared.kubernetes));
        daemons.extend(daemons::the_rest(&self.layout, &prepared.kubernetes));
        daemons
    }

    fn api_server_is_ready(&self) -> bool {
        self.kubectl(&["get", "--raw=/readyz", "--request-timeout=5s"]).is_ok()
    }

    fn start_control_plane(&self, prepared: &Prepared) -> Result<()> {
        for folder in self.layout.folders() {
            fs::create_dir_all(folder)?;
        }
        for file in configuration::files(&self.layout, prepare::KUBERNETES_VERSION) {
            fs::write(self.layout.configuration(file.name), file.text)?;
        }
        fs::write(self.layout.root().join("cni/10-rocketmart.conflist"), configuration::cni(&self.layout))?;
        certificates::create(&self.layout, &prepared.kubernetes)?;
        cgroup::create()?;
        namespace::create()?;
        let containerd = [daemons::containerd(&self.layout)];
        let control_plane = daemons::control_plane(&self.layout, &prepared.kubernetes);
        self.start(&containerd)?;
        self.start(&control_plane)?;
        self.wait_until("containerd", &containerd, || images::store_answers(&self.layout))?;
        if images::forget_containers(&self.layout)? {
            containerd.iter().try_for_each(|daemon| daemon.end(&self.layout))?;
            self.start(&containerd)?;
            self.wait_until("containerd", &containerd, || images::store_answers(&self.layout))?;
        }
        self.wait_until("the API server", &control_plane, || self.api_server_is_ready())?;
        self.cluster.apply(ACCESS)
    }

    fn start_kubelet(&self, prepared: &Prepared) -> Result<()> {
        // Contour reads its configuration only when it starts.
        self.declare_ingress(prepared)?;
        let daemons = daemons::the_rest(&self.layout, &prepared.kubernetes);
        self.start(&daemons)?;
        self.cluster.apply(&volumes::create(&self.layout)?)?;
        self.cluster.apply(DNS)?;
        self.wait_until("the node to register itself", &daemons, || {
            self.kubectl(&["get", "node", layout::NAME]).is_ok()
        })?;
        self.kubectl(&["wait", "--for=condition=Ready", "node", layout::NAME, ROLLOUT_LIMIT])?;
        self.wait_for_rollout("kube-system", "deployment/coredns")
    }

    fn declare_ingress(&self, prepared: &Prepared) -> Result<()> {
        for manifests in [&prepared.gateway_definitions, &prepared.contour_manifests] {
            self.kubectl(&["apply", "--server-side", "--filename", &manifests.display().to_string()])?;
        }
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])?;
        self.cluster.apply(GATEWAY)
    }

    fn wait_for_ingress(&self) -> Result<()> {
        self.wait_for_rollout("projectcontour", "deployment/contour")?;
        self.wait_for_rollout("projectcontour", "daemonset/envoy")
    }

    fn wait_for_rollout(&self, namespace: &str, workload: &str) -> Result<()> {
        self.kubectl(&["rollout", "status", "--namespace", namespace, workload, ROLLOUT_LIMIT]).map(drop)
    }

    fn start(&self, daemons: &[Daemon]) -> Result<()> {
        daemons.iter().try_for_each(|daemon| daemon.start(&self.layout))
    }

    /// Waits for something that these programs bring about. Fails at once if one of them ends.
    fn wait_until(&self, what: &str, daemons: &[Daemon], mut ready: impl FnMut() -> bool) -> Result<()> {
        let mut ended = None;
        step::wait_until(what, READY_LIMIT, || {
            ended = daemons.iter().find_map(|daemon| daemon.check(&self.layout).err());
            ended.is_some() || ready()
        })?;
        ended.map_or(Ok(()), Err)
    }

    fn import_images(&self, images: &[Image]) -> Result<()> {
        let missing: Vec<&Image> =
            images.iter().filter(|image| !images::is_imported(&self.layout, image)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        step::step(&format!("Import {} images", missing.len()), || {
            missing.iter().try_for_each(|image| self.import_image(image))
        })
    }
}

/// What a node was made from: when this changes, another node has to replace it.
fn identity(prepared: &Prepared) -> String {
    [&prepared.kubernetes, &prepared.gateway_definitions, &prepared.contour_manifests]
        .map(|path| path.display().to_string())
        .join("\n")
}
