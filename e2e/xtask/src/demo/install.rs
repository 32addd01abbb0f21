//! The charts and the Shop.

use std::fs;

use anyhow::{Context, Result};
use rocketmart_harness::{cluster::Cluster, step::step};

pub(crate) const SHOP_NAMESPACE: &str = "rocket-mart";
pub(crate) const BACKING_NAMESPACE: &str = "backing";
pub(crate) const SHOP: &str = "rocket-mart";
pub(crate) const OPERATOR_NAMESPACE: &str = "rocketmart-system";
/// The chart of the operator, and its release.
pub(crate) const OPERATOR: &str = "rocketmart";

/// Settings of the backing services when the catalog is in Cassandra: PostgreSQL then holds none of it.
const WITH_CASSANDRA: [&str; 4] =
    ["--set", "cassandra.enabled=true", "--set", "databases={member,order,payment,delivery}"];

pub(crate) fn run(cluster: &Cluster, with_cassandra: bool) -> Result<()> {
    let (settings, shop) = if with_cassandra {
        (&WITH_CASSANDRA[..], "examples/shop-on-cassandra.yaml")
    } else {
        (&[][..], "examples/shop.yaml")
    };
    for name in [SHOP_NAMESPACE, BACKING_NAMESPACE] {
        cluster.apply(&namespace(name))?;
    }
    step("Install the backing services (Redis, Kafka, PostgreSQL, mail, payment provider)", || {
        helm(cluster, "backing-services", BACKING_NAMESPACE, settings)
    })?;
    step("Install the operator", || {
        // Helm installs CRDs once and never changes them, so we apply them like any other manifest.
        for file in fs::read_dir("charts/rocketmart/crds")? {
            cluster.apply(&fs::read_to_string(file?.path())?)?;
        }
        helm(cluster, OPERATOR, OPERATOR_NAMESPACE, &[])
    })?;
    step(&format!("The shop: {shop} until it is Ready"), || {
        cluster.apply(&fs::read_to_string(shop)?)?;
        let ready = cluster.kubectl(&[
            "-n",
            SHOP_NAMESPACE,
            "wait",
            "--for=condition=Ready",
            &format!("shop/{SHOP}"),
            "--timeout=240s",
        ]);
        ready.map(drop).map_err(|error| {
            let state = cluster
                .kubectl(&["-n", SHOP_NAMESPACE, "get", "shop,deployments,pods", "-o", "wide"])
                .unwrap_or_default();
            let conditions = cluster
                .kubectl(&["-n", SHOP_NAMESPACE, "get", "shop", SHOP, "-o", "jsonpath={.status.conditions}"])
                .unwrap_or_default();
            error.context(format!("the shop is not ready:\n{state}\n{conditions}"))
        })
    })
}

fn helm(cluster: &Cluster, chart: &str, namespace: &str, settings: &[&str]) -> Result<()> {
    let path = format!("charts/{chart}");
    let mut arguments = vec!["upgrade", "--install", chart, &path, "--namespace", namespace];
    arguments.extend(["--create-namespace", "--wait", "--timeout", "5m"]);
    arguments.extend(settings);
    cluster
        .helm(&arguments)
        .map(drop)
        .with_context(|| cluster.kubectl(&["-n", namespace, "get", "pods,events"]).unwrap_or_default())
}

fn namespace(name: &str) -> String {
    format!(
        "apiVersion: v1
kind: Namespace
metadata:
  name: {name}
  labels:
    pod-security.kubernetes.io/enforce: restricted
"
    )
}
