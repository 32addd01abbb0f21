//! The shop that a demo left on a cluster, used from its entrance: by tests, and by a person at a shell
//! (`cargo xtask shell`).
//!
//! Both run where the cluster's addresses can be reached, and both get the same environment.
//! `e2e/shop/src/place.rs` lists its variables.

use std::{
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use rocketmart_harness::{
    cluster::{Cluster, Reached},
    process,
    programs::Executable,
    step::step,
};

use crate::demo::{
    Options,
    install::{BACKING_NAMESPACE, OPERATOR, OPERATOR_NAMESPACE, SHOP, SHOP_NAMESPACE},
};

/// The tests in e2e/shop that need only the entrance or a cluster: those of what was asked for, row by row,
/// and of what documents tell people to type.
const TESTS: [&str; 3] = ["row_", "every_command_of_the_tour", "k16_"];
/// The tests wait for the shop most of the time.
const AT_ONCE: &str = "--test-threads=8";
/// Needs the Gateway of the node of this machine.
const WITH_A_GATEWAY: &str = "a_shop_is_moved_to_a_gateway";
/// The label of the sales that tests make.
const MADE_BY_TESTS: &str = "rocketmart.dev/made-by=tests";

/// What a person at a shell wants to know.
const SHOWN: [&str; 4] = ["SHOP", "MAIL", "PROVIDER", "KUBECTL"];

/// The secret of the first administrator; the operator makes it.
const ADMINISTRATOR: &str = "rocket-mart-admin";

/// A shop on a cluster and the way there. The way stays open until this is dropped.
pub(crate) struct Deployed {
    cluster: Cluster,
    on_our_node: bool,
    environment: Vec<(&'static str, String)>,
    _ways: [Reached; 3],
}

impl Deployed {
    /// Finds the shop of `examples/shop.yaml`.
    pub(crate) fn find(options: &Options) -> Result<Self> {
        let cluster = options.cluster()?;
        let host = of_the_shop(&cluster, "shop", SHOP, "{{.spec.host}}")
            .context("there is no shop to be tested (`cargo xtask demo` leaves one)")?;
        let (namespace, service, port) = service_at(&options.entrance)?;
        let entrance = cluster.reach(namespace, service, port)?;
        let mail = cluster.reach(BACKING_NAMESPACE, "mail", 8025)?;
        let provider = cluster.reach(BACKING_NAMESPACE, "payment-provider", 8090)?;
        let secret = |key: &str| {
            of_the_shop(&cluster, "secret", ADMINISTRATOR, &format!("{{{{.data.{key} | base64decode}}}}"))
        };
        let environment = vec![
            ("SHOP", format!("http://{host}")),
            ("SHOP_ADDRESS", entrance.address.to_string()),
            ("MAIL", format!("http://{}", mail.address)),
            ("PROVIDER", format!("http://{}", provider.address)),
            ("ADMIN_EMAIL", secret("email")?),
            ("ADMIN_PASSWORD", secret("password")?),
            ("KUBECTL", cluster.kubectl_program().display().to_string()),
            ("SHOP_NAMESPACE", SHOP_NAMESPACE.to_owned()),
            ("SHOP_NAME", SHOP.to_owned()),
            ("CURL_HOME", curl_home(&host, entrance.address)?),
        ];
        Ok(Self {
            cluster,
            on_our_node: options.kubeconfig.is_none(),
            environment,
            _ways: [entrance, mail, provider],
        })
    }

    /// Runs the tests of an executable of e2e/shop against this shop.
    pub(crate) fn tests(&self, executable: &Executable) -> Command {
        let mut command = self.command(&executable.path);
        command.args(TESTS).arg(AT_ONCE).current_dir(&executable.folder);
        if !self.on_our_node {
            println!("not asked of another cluster: {WITH_A_GATEWAY} …");
            command.args(["--skip", WITH_A_GATEWAY]);
        }
        command
    }

    /// Deletes the sales that tests made; the operator closes each in its own time.
    pub(crate) fn forget_sales(&self) -> Result<()> {
        let sales = ["delete", "flashsales", "--selector", MADE_BY_TESTS, "--wait=false"];
        self.cluster.kubectl(&[&["--namespace", SHOP_NAMESPACE], &sales[..]].concat()).map(drop)
    }

    /// The test that comes with the operator's chart.
    pub(crate) fn helm_test(&self) -> Result<()> {
        step("helm test", || {
            let test = ["test", OPERATOR, "--namespace", OPERATOR_NAMESPACE, "--timeout", "2m"];
            self.cluster.helm(&test).map(drop)
        })
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.cluster.command(program);
        command.envs(self.environment.iter().cloned()).stdin(Stdio::null());
        command
    }
}

/// A shell that finds the shop, or a single command instead.
pub(crate) fn shell(arguments: &[String]) -> Result<()> {
    let (options, command) = match arguments.iter().position(|argument| argument == "--") {
        Some(at) => (&arguments[..at], &arguments[at + 1..]),
        None => (arguments, &[][..]),
    };
    let shop = Deployed::find(&Options::parse(options)?)?;
    let status = if let Some((program, arguments)) = command.split_first() {
        shop.command(program).args(arguments).stdin(Stdio::inherit()).status()?
    } else {
        for (name, value) in shop.environment.iter().filter(|(name, _)| SHOWN.contains(name)) {
            println!("  {name}={value}");
        }
        println!("A tour to paste: docs/tour.md. `exit` ends the shell.");
        shop.command("bash").stdin(Stdio::inherit()).status()?
    };
    if status.success() { Ok(()) } else { bail!("the shell ended with {status}") }
}

/// A field of an object in the shop's namespace, selected by a Go template.
fn of_the_shop(cluster: &Cluster, kind: &str, name: &str, template: &str) -> Result<String> {
    let template = format!("--output=go-template={template}");
    cluster.kubectl(&["--namespace", SHOP_NAMESPACE, "get", kind, name, &template])
}

/// The Service that pods know by a URL like `http://envoy.projectcontour:80`.
fn service_at(url: &str) -> Result<(&str, &str, u16)> {
    let split = || {
        let authority = url.strip_prefix("http://")?.trim_end_matches('/');
        let (name, port) = match authority.split_once(':') {
            Some((name, port)) => (name, port.parse().ok()?),
            None => (authority, 80),
        };
        let (service, rest) = name.split_once('.')?;
        Some((rest.split('.').next()?, service, port))
    };
    split().with_context(|| format!("--entrance {url}: http://SERVICE.NAMESPACE[:PORT] is needed"))
}

/// A folder with the settings that let curl find the shop by its host name.
fn curl_home(host: &str, address: SocketAddr) -> Result<String> {
    let folder = process::scratch("curl")?;
    fs::write(folder.join(".curlrc"), format!("connect-to = \"{host}:80:{address}\"\nnoproxy = \"*\"\n"))?;
    Ok(folder.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::service_at;

    #[test]
    fn the_entrance_is_a_service_by_the_name_that_pods_use() {
        let found = |url| service_at(url).ok();
        assert_eq!(found("http://envoy.projectcontour"), Some(("projectcontour", "envoy", 80)));
        let full = "http://traefik.edge.svc.cluster.local:8000/";
        assert_eq!(found(full), Some(("edge", "traefik", 8000)));
        assert_eq!(found("http://localhost:8080"), None);
    }
}
