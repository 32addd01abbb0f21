//! The programs outside the shop, the shoppers and the checker, run in a pod of the cluster.
//!
//! They reach everything by the names that pods use, so the demo works on any cluster that has the image.
//! What they write stays in the pod until the demo fetches it into its folder.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use rocketmart_harness::cluster::Cluster;

use super::{
    Options,
    install::{BACKING_NAMESPACE, SHOP, SHOP_NAMESPACE},
    sale::Sale,
};

const POD: &str = "demo-tools";
const MANIFEST: &str = include_str!("tools.yaml");
/// The host name of examples/shop.yaml.
const HOST: &str = "shop.rocketmart.local";

#[derive(Debug)]
pub(crate) struct Tools {
    cluster: Cluster,
    /// Address of the ingress controller, as a pod reaches it.
    entrance: String,
    folder: PathBuf,
}

impl Tools {
    /// Starts the pod and replaces one that an earlier demo left.
    pub(crate) fn start(cluster: &Cluster, entrance: &str, folder: &Path) -> Result<Self> {
        let tools =
            Self { cluster: cluster.clone(), entrance: entrance.to_owned(), folder: folder.to_owned() };
        tools.kubectl(&["delete", "pod", POD, "--ignore-not-found", "--wait"])?;
        cluster.apply_in(SHOP_NAMESPACE, MANIFEST)?;
        tools.kubectl(&["wait", "--for=condition=Ready", "pod", POD, "--timeout=60s"])?;
        Ok(tools)
    }

    pub(crate) fn people(&self, sale: &Sale, options: &Options) -> Result<()> {
        self.run(&[
            "rocketmart-loadtest",
            "people",
            "--shop-url",
            &self.entrance,
            "--host",
            HOST,
            "--mail-url",
            &format!("http://mail.{BACKING_NAMESPACE}:8025"),
            "--sku",
            &sale.sku,
            "--quantity",
            &sale.units.to_string(),
            "--sign-ups",
            &options.sign_ups.to_string(),
            "--imports",
            &options.shoppers.saturating_sub(options.sign_ups).to_string(),
            "--out=people.json",
        ])
    }

    pub(crate) fn rush(&self, sale: &Sale) -> Result<()> {
        self.run(&[
            "rocketmart-loadtest",
            "rush",
            "--shop-url",
            &self.entrance,
            "--host",
            HOST,
            "--provider-url",
            &format!("http://payment-provider.{BACKING_NAMESPACE}:8090"),
            "--sale",
            &sale.name,
            "--sku",
            &sale.sku,
            "--opens-at",
            sale.opens_at()?,
            "--people=people.json",
            "--history=history.jsonl",
            "--summary=rush.json",
        ])?;
        self.fetch("history.jsonl")?;
        self.fetch("rush.json")
    }

    pub(crate) fn check(&self, sale: &Sale) -> Result<()> {
        let checked = self.run(&[
            "rocketmart-checker",
            "--sale",
            &sale.uid(&self.cluster)?,
            "--redis-url",
            &format!("redis://redis.{BACKING_NAMESPACE}:6379"),
            "--kafka-brokers",
            &format!("kafka.{BACKING_NAMESPACE}:9092"),
            "--topic-prefix",
            &format!("{SHOP_NAMESPACE}.{SHOP}."),
            "--provider-url",
            &format!("http://payment-provider.{BACKING_NAMESPACE}:8090"),
            "--history=history.jsonl",
            "--out=checker.json",
        ]);
        // Fetch the findings even after a failure: that is when they matter most.
        let fetched = self.fetch("checker.json");
        checked.and(fetched)
    }

    /// Runs a program in the pod with its output on the terminal.
    fn run(&self, command: &[&str]) -> Result<()> {
        let status = self.exec(command).status().context("starting kubectl")?;
        if !status.success() {
            bail!("{} ended with {status}", command[0]);
        }
        Ok(())
    }

    /// Copies a file from the pod into the demo's folder.
    fn fetch(&self, name: &str) -> Result<()> {
        let path = self.folder.join(name);
        let file = File::create(&path).with_context(|| format!("writing {}", path.display()))?;
        let status = self.exec(&["cat", name]).stdout(file).status().context("starting kubectl")?;
        if !status.success() {
            fs::remove_file(&path)?;
            bail!("fetching {name} from the pod {POD} ended with {status}");
        }
        Ok(())
    }

    fn exec(&self, command: &[&str]) -> Command {
        let mut kubectl = self.cluster.kubectl_command(&["-n", SHOP_NAMESPACE, "exec", "--quiet", POD, "--"]);
        kubectl.args(command).stdin(Stdio::null());
        kubectl
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.kubectl(&[&["-n", SHOP_NAMESPACE], arguments].concat())
    }
}
