//! A Kubernetes cluster as its users see it: a kubeconfig, kubectl and Helm.
//!
//! It is either the node of this machine or any other cluster, given by its kubeconfig. Programs that talk to
//! the node have to run inside its network namespace. Tests and the demo take a [`Cluster`] and do not care
//! which it is.

use std::{
    ffi::OsStr,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::prepare;

mod service;

pub use self::service::Reached;

/// A cluster that is up.
#[derive(Debug, Clone)]
pub struct Cluster {
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    helm: PathBuf,
    /// The beginning of every command line that has to reach the cluster's addresses.
    enter: Vec<String>,
    /// Where kubectl caches what it learnt about the API; `None` for its default.
    kubectl_cache: Option<PathBuf>,
}

impl Cluster {
    /// Any cluster, by its kubeconfig. Uses the installed kubectl and Helm, or else ours.
    pub fn elsewhere(kubeconfig: &Path) -> Result<Self> {
        let kubeconfig =
            kubeconfig.canonicalize().with_context(|| format!("no kubeconfig {}", kubeconfig.display()))?;
        Ok(Self {
            kubeconfig,
            kubectl: match installed("kubectl") {
                Some(kubectl) => kubectl,
                None => prepare::kubernetes_binaries()?.join("kubectl"),
            },
            helm: installed("helm").map_or_else(prepare::helm, Ok)?,
            enter: vec![],
            kubectl_cache: None,
        })
    }

    /// A cluster in a network namespace of this machine; `enter` is the command that enters it.
    pub(crate) fn in_namespace(
        kubeconfig: PathBuf,
        kubectl: PathBuf,
        helm: PathBuf,
        enter: Vec<String>,
    ) -> Self {
        let kubectl_cache = Some(kubeconfig.with_file_name("kubectl-cache"));
        Self { kubeconfig, kubectl, helm, enter, kubectl_cache }
    }

    /// A kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The kubectl program, for commands made by [`Cluster::command`].
    pub fn kubectl_program(&self) -> &Path {
        &self.kubectl
    }

    /// A command that runs where the cluster's addresses can be reached, with `KUBECONFIG` set.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = match self.enter.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program.as_ref());
                command
            }
            None => Command::new(program.as_ref()),
        };
        command.env("KUBECONFIG", &self.kubeconfig);
        if let Some(folder) = &self.kubectl_cache {
            command.env("KUBECACHEDIR", folder);
        }
        command
    }

    /// kubectl with these arguments, not started yet.
    pub fn kubectl_command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = self.command(&self.kubectl);
        command.args(arguments);
        command
    }

    /// Runs kubectl and returns what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        output(&mut self.kubectl_command(arguments), None)
    }

    /// Applies manifests (server-side).
    pub fn apply(&self, manifests: &str) -> Result<()> {
        self.apply_with(&[], manifests)
    }

    /// Applies manifests; those without a namespace go into this one.
    pub fn apply_in(&self, namespace: &str, manifests: &str) -> Result<()> {
        self.apply_with(&["--namespace", namespace], manifests)
    }

    fn apply_with(&self, options: &[&str], manifests: &str) -> Result<()> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "--filename=-"];
        output(self.kubectl_command(&arguments).args(options), Some(manifests)).map(drop)
    }

    /// Runs Helm and returns what it printed. Its cache and settings are in our cache.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        let home = crate::cache::root().join("helm-home");
        let mut command = self.command(&self.helm);
        command.args(arguments);
        for (variable, folder) in
            [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
        {
            command.env(variable, home.join(folder));
        }
        output(&mut command, None)
    }
}

/// Finds a program in the `PATH`.
fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

fn output(command: &mut Command, input: Option<&str>) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(text.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{}: {}", shown(command), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A command line as a person would type it, without the folders of its programs.
fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .filter(|word| !word.starts_with("--net=") && word != "nsenter")
        .map(|word| match Path::new(word.as_ref()).file_name() {
            Some(name) if word.starts_with('/') => name.to_string_lossy().into_owned(),
            _ => word.into_owned(),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(enter: &[&str]) -> Cluster {
        let enter = enter.iter().map(|word| (*word).to_owned()).collect();
        Cluster::in_namespace("/k/admin.conf".into(), "/b/kubectl".into(), "/b/helm".into(), enter)
    }

    #[test]
    fn a_command_on_the_node_runs_in_its_namespace_with_its_kubeconfig() {
        let command = cluster(&["nsenter", "--net=/run/netns/rocketmart"]).kubectl_command(&["get", "pods"]);
        assert_eq!(command.get_program(), "nsenter");
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(arguments, ["--net=/run/netns/rocketmart", "/b/kubectl", "get", "pods"]);
        let kubeconfig = command.get_envs().find(|(name, _)| *name == "KUBECONFIG");
        assert_eq!(kubeconfig.and_then(|(_, value)| value), Some(OsStr::new("/k/admin.conf")));
    }

    #[test]
    fn a_command_on_another_cluster_runs_as_it_is() {
        assert_eq!(cluster(&[]).command("curl").get_program(), "curl");
    }

    #[test]
    fn an_error_shows_the_command_as_a_person_would_write_it() {
        let command = cluster(&["nsenter", "--net=/run/netns/rocketmart"]).kubectl_command(&["get", "pods"]);
        assert_eq!(shown(&command), "kubectl get pods");
    }
}
