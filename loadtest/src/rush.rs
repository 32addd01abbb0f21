//! The rush: all shoppers at once, until every unit is paid for or the sale has ended.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use futures::{StreamExt as _, stream::FuturesUnordered};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    client::Client,
    history::{History, Record},
    people::Person,
    shopper::{Ending, Habits, Rush, Shopper},
};

/// How often a progress line appears.
const LINE_INTERVAL: Duration = Duration::from_secs(3);

/// The plan of a rush.
#[derive(Debug)]
pub struct Plan {
    pub shop: Client,
    pub provider: Client,
    pub sale: String,
    pub sku: String,
    pub habits: Habits,
    pub people: Vec<Person>,
    pub opens_at: time::OffsetDateTime,
    /// The last shopper comes this long after the opening.
    pub arrive_within: Duration,
    pub history: PathBuf,
    pub seed: u64,
    pub requests_at_once: usize,
    /// The rush ends after this time at the latest.
    pub limit: Duration,
}

/// The result of a rush.
#[derive(Debug)]
pub struct Aftermath {
    pub records: Vec<Record>,
    pub endings: Vec<Ending>,
}

/// Lets everybody shop; returns when all have gone home.
pub async fn run(plan: Plan) -> Result<Aftermath> {
    let (end, over) = watch::channel(false);
    let rush = Arc::new(Rush {
        shop: plan.shop.clone(),
        provider: plan.provider,
        sale: plan.sale.clone(),
        sku: plan.sku.clone(),
        habits: plan.habits,
        history: History::create(&plan.history)?,
        over,
        in_flight: tokio::sync::Semaphore::new(plan.requests_at_once),
        opens_at: plan.opens_at,
        arrive_within: plan.arrive_within,
    });
    let watcher = tokio::spawn(watch_sale(plan.shop, plan.sale, end, plan.limit));
    let mut shoppers: FuturesUnordered<_> = plan
        .people
        .into_iter()
        .zip(plan.seed..)
        .map(|(person, seed)| tokio::spawn(Shopper::new(Arc::clone(&rush), person, seed).shop()))
        .collect();
    let mut endings = Vec::with_capacity(shoppers.len());
    while let Some(ending) = shoppers.next().await {
        endings.push(ending??);
    }
    watcher.abort();
    let rush = Arc::into_inner(rush).ok_or_else(|| anyhow::anyhow!("a shopper is still in the shop"))?;
    Ok(Aftermath { records: rush.history.finish()?, endings })
}

/// Looks at the sale as a shopper's page does, and signals when there is nothing left to hope for.
async fn watch_sale(shop: Client, sale: String, end: watch::Sender<bool>, limit: Duration) {
    let deadline = tokio::time::Instant::now() + limit;
    let mut last_line = (String::new(), tokio::time::Instant::now() - LINE_INTERVAL);
    while tokio::time::Instant::now() < deadline {
        if let Ok(answer) = shop.get(&format!("/api/v1/sales/{sale}"), None).await
            && answer.status.is_success()
        {
            let line = standing(&answer.body);
            if line != last_line.0 && last_line.1.elapsed() >= LINE_INTERVAL {
                println!("    {line}");
                last_line = (line, tokio::time::Instant::now());
            }
            if is_over(&answer.body) {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let _ = end.send(true);
}

/// A sale is over once it no longer sells: after the last unit was paid for, or at its closing time.
fn is_over(sale: &Value) -> bool {
    matches!(sale["state"].as_str(), Some("closed" | "cancelled" | "closed_out"))
}

fn standing(sale: &Value) -> String {
    let items = sale["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let parts: Vec<String> = items
        .iter()
        .map(|item| {
            format!("{} of {} {} left", item["remaining"], item["units"], item["sku"].as_str().unwrap_or("?"))
        })
        .collect();
    format!("{}: {}", sale["state"].as_str().unwrap_or("?"), parts.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::is_over;

    #[test]
    fn a_sold_out_sale_is_not_over_because_units_may_come_back() {
        assert!(!is_over(&json!({"state": "open"})));
        assert!(!is_over(&json!({"state": "sold_out"})));
        assert!(is_over(&json!({"state": "closed"})));
    }
}
