//! Kubernetes, Helm, Contour and readers of what runs elsewhere, built from source with the Go module proxy.
//!
//! Each has its own module, because each needs other versions of the same libraries. `go.mod` and `go.sum`
//! pin every version, so they are the cache's key.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{checkout, log};
use crate::{cache, command, step};

/// With an empty build cache, Kubernetes takes about 10 minutes on 2 idle cores.
const LIMIT: Duration = Duration::from_mins(40);
const NODE_BINARIES: &str = "e2e/node-binaries";
pub const KUBERNETES_VERSION: &str = "v1.34.4";

/// A Go module and the programs built from it.
struct Module {
    name: &'static str,
    /// The module's folder, relative to the checkout.
    folder: &'static str,
    /// What the progress line calls it.
    title: String,
    programs: Vec<String>,
    link_flags: String,
}

/// The folder with the Kubernetes binaries and `coredns`, built at first use.
pub fn kubernetes_binaries() -> Result<PathBuf> {
    const PROGRAMS: [&str; 7] = [
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
        "kubeadm",
        "kubectl",
        "kubelet",
    ];
    let programs = PROGRAMS.iter().map(|program| format!("k8s.io/kubernetes/cmd/{program}"));
    Module {
        name: "kubernetes",
        folder: NODE_BINARIES,
        title: format!("Kubernetes {KUBERNETES_VERSION} and CoreDNS"),
        programs: programs.chain(["./coredns".to_owned()]).collect(),
        link_flags: format!("-s -w {}", kubernetes_version_flags(KUBERNETES_VERSION)),
    }
    .build(|_| Ok(()))
}

/// The Helm program, built at first use.
pub fn helm() -> Result<PathBuf> {
    let module = Module {
        name: "helm",
        folder: NODE_BINARIES,
        title: "Helm 4".to_owned(),
        programs: vec!["helm.sh/helm/v4/cmd/helm".to_owned()],
        link_flags: "-s -w".to_owned(),
    };
    Ok(module.build(|_| Ok(()))?.join("helm"))
}

/// The folder with `kind-config` and `actionlint`, which check files meant for kind and for a forge.
pub(super) fn readers() -> Result<PathBuf> {
    Module {
        name: "kindcheck",
        folder: "e2e",
        title: "readers of kind's configuration and of workflows".to_owned(),
        programs: vec!["./kind-config".to_owned(), "github.com/rhysd/actionlint/cmd/actionlint".to_owned()],
        link_flags: "-s -w".to_owned(),
    }
    .build(|_| Ok(()))
}

/// Contour: its program, and the manifests that its own documentation installs.
#[derive(Debug, Clone)]
pub struct Contour {
    dir: PathBuf,
}

impl Contour {
    /// The folder with the program `contour`.
    pub fn binaries(&self) -> &Path {
        &self.dir
    }

    pub fn manifests(&self) -> PathBuf {
        self.dir.join("manifests")
    }
}

/// Contour, built at first use.
pub fn contour() -> Result<Contour> {
    let module = Module {
        name: "contour",
        folder: NODE_BINARIES,
        title: "Contour, the ingress controller".to_owned(),
        programs: vec!["github.com/projectcontour/contour/cmd/contour".to_owned()],
        link_flags: "-s -w".to_owned(),
    };
    let source = module.source();
    let dir = module.build(|into| copy_contour_manifests(&source, &into.join("manifests")))?;
    Ok(Contour { dir })
}

/// The definition of the Gateway API's `HTTPRoute`, from the module that Contour is built with.
pub fn http_route_definition() -> Result<PathBuf> {
    const NAME: &str = "gateway.networking.k8s.io_httproutes.yaml";
    let folder = "config/crd/standard";
    Ok(definitions("gateway-api", "contour", "sigs.k8s.io/gateway-api", folder, &[NAME])?.join(NAME))
}

/// The definitions of all Gateway API kinds that Contour watches.
pub fn gateway_definitions() -> Result<PathBuf> {
    const NAME: &str = "00-crds.yaml";
    let module = "github.com/projectcontour/contour";
    Ok(definitions("gateway-kinds", "contour", module, "examples/gateway", &[NAME])?.join(NAME))
}

/// A folder with the definitions of those kinds of the Prometheus Operator that our chart makes.
pub fn prometheus_operator_definitions() -> Result<PathBuf> {
    const NAMES: [&str; 3] = [
        "monitoring.coreos.com_podmonitors.yaml",
        "monitoring.coreos.com_prometheusrules.yaml",
        "monitoring.coreos.com_servicemonitors.yaml",
    ];
    let (module, folder) =
        ("github.com/prometheus-operator/prometheus-operator", "example/prometheus-operator-crd");
    definitions("prometheus-operator", "prometheus-operator", module, folder, &NAMES)
}

/// A cache entry with definitions from a Go module that one of `e2e/node-binaries` depends on.
fn definitions(entry: &str, by: &str, module: &str, folder: &str, names: &[&str]) -> Result<PathBuf> {
    let by = checkout().join(NODE_BINARIES).join(by);
    let key = cache::key_of_files(&[by.join("go.mod"), by.join("go.sum")])?;
    cache::entry(entry, &key, |into| {
        let source = downloaded(&by, module)?.join(folder);
        for name in names {
            let source = source.join(name);
            let definition = fs::read(&source).with_context(|| format!("reading {}", source.display()))?;
            fs::write(into.join(name), definition)?;
        }
        Ok(())
    })
}

impl Module {
    fn source(&self) -> PathBuf {
        checkout().join(self.folder).join(self.name)
    }

    fn key(&self) -> Result<String> {
        let source = self.source();
        let files = cache::key_of_files(&[source.join("go.mod"), source.join("go.sum")])?;
        let own = own_programs(&source, &self.programs);
        Ok(cache::key(&[files, cache::key_of_files(&own)?, self.programs.join(" "), self.link_flags.clone()]))
    }

    /// Builds the programs into a cache entry; `complete` adds to it.
    fn build(&self, complete: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        cache::entry(self.name, &self.key()?, |into| {
            step::step(&format!("Build {}", self.title), || {
                command::run(
                    Command::new("go")
                        .args(["build", "-trimpath", "-buildvcs=false", "-ldflags", &self.link_flags, "-o"])
                        .arg(format!("{}/", into.display()))
                        .args(&self.programs)
                        .current_dir(self.source())
                        .env("CGO_ENABLED", "0"),
                    &log(self.name),
                    LIMIT,
                )?;
                complete(into)
            })
        })
    }
}

/// The main files of our own programs (`./…`), which `go.sum` does not pin.
fn own_programs(source: &Path, programs: &[String]) -> Vec<PathBuf> {
    programs
        .iter()
        .filter_map(|program| program.strip_prefix("./"))
        .map(|folder| source.join(folder).join("main.go"))
        .collect()
}

/// Without these the node reports `v0.0.0-master+$Format:%H$`.
fn kubernetes_version_flags(version: &str) -> String {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    [("gitVersion", version), ("gitMajor", major), ("gitMinor", minor)]
        .map(|(name, value)| format!("-X k8s.io/component-base/version.{name}={value}"))
        .join(" ")
}

/// The folder with the source of a module that another one depends on.
fn downloaded(by: &Path, module: &str) -> Result<PathBuf> {
    let go = |arguments: &[&str]| -> Result<String> {
        let output = Command::new("go").args(arguments).arg(module).current_dir(by).output();
        let output = output.with_context(|| format!("asking Go for {module}"))?;
        if !output.status.success() {
            bail!("go {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    go(&["mod", "download"])?;
    Ok(go(&["list", "-m", "-f", "{{.Dir}}"])?.into())
}

fn copy_contour_manifests(module: &Path, into: &Path) -> Result<()> {
    let source = downloaded(module, "github.com/projectcontour/contour")?.join("examples/contour");
    fs::create_dir_all(into)?;
    for file in fs::read_dir(&source).with_context(|| format!("reading {}", source.display()))? {
        let file = file?.path();
        if file.extension().is_some_and(|extension| extension == "yaml")
            && let Some(name) = file.file_name()
        {
            // Read and write instead of copying: Go's module cache is read-only, and so would be the copy.
            fs::write(into.join(name), fs::read(&file)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_reaches_every_program_that_reports_one() {
        assert_eq!(
            kubernetes_version_flags("v1.34.4"),
            "-X k8s.io/component-base/version.gitVersion=v1.34.4 \
             -X k8s.io/component-base/version.gitMajor=1 \
             -X k8s.io/component-base/version.gitMinor=34"
        );
    }

    #[test]
    fn go_mod_pins_the_version_that_is_reported() -> Result<()> {
        let go_mod = fs::read_to_string(checkout().join("e2e/node-binaries/kubernetes/go.mod"))?;
        assert!(go_mod.contains(&format!("require k8s.io/kubernetes {KUBERNETES_VERSION}\n")));
        Ok(())
    }

    #[test]
    fn only_our_own_programs_are_read_for_the_key() {
        let programs = ["k8s.io/kubernetes/cmd/kubelet".to_owned(), "./coredns".to_owned()];
        assert_eq!(own_programs(Path::new("/m"), &programs), [PathBuf::from("/m/coredns/main.go")]);
    }

    #[test]
    fn other_link_flags_make_another_key() -> Result<()> {
        let module = |link_flags: &str| Module {
            name: "helm",
            folder: NODE_BINARIES,
            title: String::new(),
            programs: vec!["helm.sh/helm/v4/cmd/helm".to_owned()],
            link_flags: link_flags.to_owned(),
        };
        assert_ne!(module("-s").key()?, module("-w").key()?);
        Ok(())
    }
}
