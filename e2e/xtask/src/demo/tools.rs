//! The programs outside the shop, run where the cluster's addresses can be reached: the shoppers and
//! the checker.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rocketmart_harness::{cluster::Cluster, programs::Programs};
use serde_json::Value;

use super::{
    Options,
    install::{BACKING_NAMESPACE, SHOP, SHOP_NAMESPACE},
    sale::Sale,
};

/// The host name of examples/shop.yaml.
const HOST: &str = "shop.rocketmart.local";
/// Where the node's ingress listens, seen from inside its network namespace.
const ENTRANCE: &str = "http://127.0.0.1";
const CLUSTER_DNS: &str = "10.96.0.10";

#[derive(Debug)]
pub(crate) struct Tools {
    cluster: Cluster,
    programs: Programs,
    folder: PathBuf,
}

impl Tools {
    pub(crate) fn new(cluster: &Cluster, programs: Programs, folder: &Path) -> Result<Self> {
        let folder = folder.canonicalize()?;
        // Pods find each other by name; so must a program beside them (Kafka answers with names).
        fs::write(
            folder.join("resolv.conf"),
            format!("nameserver {CLUSTER_DNS}\nsearch svc.cluster.local cluster.local\noptions ndots:5\n"),
        )?;
        Ok(Self { cluster: cluster.clone(), programs, folder })
    }

    pub(crate) fn people(&self, sale: &Sale, options: &Options) -> Result<()> {
        let administrator = secret(&self.cluster, SHOP_NAMESPACE, &format!("{SHOP}-admin"))?;
        let mut command = self.command("rocketmart-loadtest")?;
        command
            .arg("people")
            .args(["--shop-url", ENTRANCE, "--host", HOST])
            .args(["--mail-url", &format!("http://mail.{BACKING_NAMESPACE}:8025")])
            .args(["--sku", &sale.sku, "--quantity", &sale.units.to_string()])
            .args(["--sign-ups", &options.sign_ups.to_string()])
            .args(["--imports", &options.shoppers.saturating_sub(options.sign_ups).to_string()])
            .arg("--out")
            .arg(self.folder.join("people.json"))
            .env("ADMIN_EMAIL", field(&administrator, "email")?)
            .env("ADMIN_PASSWORD", field(&administrator, "password")?);
        run(&mut command)
    }

    pub(crate) fn rush(&self, sale: &Sale) -> Result<()> {
        let mut command = self.command("rocketmart-loadtest")?;
        command
            .arg("rush")
            .args(["--shop-url", ENTRANCE, "--host", HOST])
            .args(["--provider-url", &format!("http://payment-provider.{BACKING_NAMESPACE}:8090")])
            .args(["--sale", &sale.name, "--sku", &sale.sku, "--opens-at", sale.opens_at()?]);
        for (flag, file) in
            [("--people", "people.json"), ("--history", "history.jsonl"), ("--summary", "rush.json")]
        {
            command.arg(flag).arg(self.folder.join(file));
        }
        run(&mut command)
    }

    pub(crate) fn check(&self, cluster: &Cluster, sale: &Sale) -> Result<()> {
        let databases = secret(cluster, SHOP_NAMESPACE, "rocketmart-databases")?;
        let mut command = self.command("rocketmart-checker")?;
        command
            .args(["--sale", &sale.uid(cluster)?])
            .args(["--redis-url", &format!("redis://redis.{BACKING_NAMESPACE}:6379")])
            .args(["--kafka-brokers", &format!("kafka.{BACKING_NAMESPACE}:9092")])
            .args(["--topic-prefix", &format!("{SHOP_NAMESPACE}.{SHOP}.")])
            .args(["--provider-url", &format!("http://payment-provider.{BACKING_NAMESPACE}:8090")])
            .env("ORDER_DATABASE_URL", field(&databases, "order")?)
            .env("PAYMENT_DATABASE_URL", field(&databases, "payment")?)
            .env("DELIVERY_DATABASE_URL", field(&databases, "delivery")?);
        for (flag, file) in [("--history", "history.jsonl"), ("--out", "checker.json")] {
            command.arg(flag).arg(self.folder.join(file));
        }
        run(&mut command)
    }

    /// A program of ours that resolves names as a pod does: its own mount namespace has the cluster's
    /// resolver.
    fn command(&self, program: &str) -> Result<Command> {
        let mut command = self.cluster.command("unshare");
        command
            .args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\""])
            .arg(self.folder.join("resolv.conf"))
            .arg(self.programs.program(program)?);
        Ok(command)
    }
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().context("starting a program")?;
    if !status.success() {
        bail!("ended with {status}");
    }
    Ok(())
}

/// A Secret's `data`.
fn secret(cluster: &Cluster, namespace: &str, name: &str) -> Result<Value> {
    let text = cluster.kubectl(&["-n", namespace, "get", "secret", name, "-o", "json"])?;
    Ok(serde_json::from_str::<Value>(&text)?["data"].take())
}

/// One key of a Secret, decoded.
fn field(secret: &Value, key: &str) -> Result<String> {
    let encoded = secret[key].as_str().with_context(|| format!("the Secret has no key `{key}`"))?;
    Ok(String::from_utf8(BASE64_STANDARD.decode(encoded)?)?)
}
