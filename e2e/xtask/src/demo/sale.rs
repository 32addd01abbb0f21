//! The FlashSale of one demo run: `examples/flash-sale.yaml` with a name, a SKU and times of its own.

use std::{
    cell::OnceCell,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rocketmart_harness::{cluster::Cluster, step::step};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Options,
    install::{SHOP, SHOP_NAMESPACE},
};

/// Time from `kubectl apply` to the opening.
const LEAD: Duration = Duration::from_secs(30);
/// The window is longer than the rush needs: the sale ends when everything is sold.
const WINDOW: Duration = Duration::from_mins(10);
/// An unpaid order gives its unit back after this time. It is short so that the demo is short.
const PAYMENT_DEADLINE_SECONDS: u32 = 8;
const PRELOAD_LEAD_SECONDS: u32 = 15;

#[derive(Debug)]
pub(crate) struct Sale {
    pub name: String,
    pub sku: String,
    pub units: u32,
    opens_at: OnceCell<String>,
}

impl Sale {
    pub(crate) fn new(options: &Options) -> Self {
        let run = OffsetDateTime::now_utc().unix_timestamp();
        Self {
            name: format!("launch-{run}"),
            sku: format!("RM-ROCKET-{run}"),
            units: options.units,
            opens_at: OnceCell::new(),
        }
    }

    /// After `apply`, the sale must be loaded and verified within this time.
    pub(crate) fn lead() -> Duration {
        LEAD + Duration::from_secs(30)
    }

    /// In RFC 3339; known once the sale is applied.
    pub(crate) fn opens_at(&self) -> Result<&str> {
        self.opens_at.get().map(String::as_str).context("the sale was not applied")
    }

    pub(crate) fn apply(&self, cluster: &Cluster) -> Result<()> {
        // Whole seconds: a sale opens on the second.
        let opens = OffsetDateTime::now_utc().replace_nanosecond(0)? + LEAD;
        let opens_at = opens.format(&Rfc3339)?;
        let manifest = json!({
            "apiVersion": "rocketmart.dev/v1alpha1",
            "kind": "FlashSale",
            "metadata": {"name": self.name, "namespace": SHOP_NAMESPACE},
            "spec": {
                "shop": SHOP,
                "currency": "KRW",
                "items": [{"sku": self.sku, "units": self.units, "price": 19_900, "perBuyerLimit": 1}],
                "opensAt": opens_at,
                "closesAt": (opens + WINDOW).format(&Rfc3339)?,
                "paymentDeadlineSeconds": PAYMENT_DEADLINE_SECONDS,
                "preloadLeadSeconds": PRELOAD_LEAD_SECONDS,
            }
        });
        fs::write("target/demo/flash-sale.json", serde_json::to_vec_pretty(&manifest)?)?;
        step(&format!("Apply it; it opens at {opens_at}"), || cluster.apply(&manifest.to_string()))?;
        self.opens_at.set(opens_at).ok().context("the sale was applied already")
    }

    /// Waits until the sale is in one of these phases, and prints each phase as it comes.
    pub(crate) fn wait_for(&self, cluster: &Cluster, phases: &[&str], limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let mut last = String::new();
        loop {
            let status = self.status(cluster)?;
            let phase = status["phase"].as_str().unwrap_or("-").to_owned();
            if phase != last {
                println!("  phase {phase}");
                last.clone_from(&phase);
            }
            if phases.contains(&phase.as_str()) {
                return Ok(());
            }
            if matches!(phase.as_str(), "Failed" | "Cancelled") || Instant::now() >= deadline {
                bail!(
                    "the sale is {phase}, not {}: {}",
                    phases.join(" or "),
                    serde_json::to_string_pretty(&status)?
                );
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    pub(crate) fn status(&self, cluster: &Cluster) -> Result<Value> {
        Ok(self.object(cluster)?["status"].take())
    }

    /// The sale's id: the uid of its FlashSale.
    pub(crate) fn uid(&self, cluster: &Cluster) -> Result<String> {
        self.object(cluster)?["metadata"]["uid"]
            .as_str()
            .map(str::to_owned)
            .context("a FlashSale without uid")
    }

    fn object(&self, cluster: &Cluster) -> Result<Value> {
        let text = cluster.kubectl(&["-n", SHOP_NAMESPACE, "get", "flashsale", &self.name, "-o", "json"])?;
        Ok(serde_json::from_str(&text)?)
    }
}
