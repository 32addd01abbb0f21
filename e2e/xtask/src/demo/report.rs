//! The report: what happened, as the FlashSale's status, the shoppers and the checker tell it.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail};
use rocketmart_harness::cluster::Cluster;
use serde_json::{Value, json};

use super::{
    install::{SHOP, SHOP_NAMESPACE},
    sale::Sale,
    timeline::Seen,
};

pub(crate) fn assemble(cluster: &Cluster, sale: &Sale, folder: &Path, seen: &Seen) -> Result<Value> {
    let status = sale.status(cluster)?;
    let rush = read(&folder.join("rush.json"))?;
    let checker = read(&folder.join("checker.json"))?;
    let order = format!("deployment/{SHOP}-order");
    let version = ["--namespace", SHOP_NAMESPACE, "exec", &order, "--", "rocketmart", "--version"];
    Ok(json!({
        "program": cluster.kubectl(&version)?.trim(),
        "sale": sale.name,
        "preloaded": status["totals"]["preloaded"],
        "sold": status["totals"]["sold"],
        "remaining": status["totals"]["remaining"],
        "oversold": checker["oversold"],
        "lost_2xx": checker["lost_2xx"],
        "attempts": rush["attempts"],
        "accepted": rush["accepted"],
        "rejected": rush["rejected"],
        "unknown": rush["unknown"],
        "paid": checker["orders"]["paid"],
        "expired": checker["orders"]["expired"],
        "payment_failed": checker["orders"]["payment_failed"],
        "cancelled": checker["orders"]["cancelled"],
        "duplicates_absorbed": rush["duplicates_absorbed"],
        "accepted_per_second": rush["accepted_per_second"],
        "paid_per_second": checker["paid_per_second"],
        "latency_ms": rush["latency_ms"],
        "left_before_paying": rush["left_before_paying"],
        "left_before_completing": rush["left_before_completing"],
        "shipments": checker["shipments"],
        "phases": status["phaseTimes"],
        "replicas": seen.replicas,
        "pod_starts": seen.pod_starts,
        "close_out": status["report"],
        "invariants": checker["invariants"],
    }))
}

pub(crate) fn print(report: &Value) {
    println!("\nReport");
    for key in [
        "program",
        "preloaded",
        "sold",
        "remaining",
        "oversold",
        "lost_2xx",
        "attempts",
        "accepted",
        "rejected",
        "unknown",
        "paid",
        "expired",
        "payment_failed",
        "duplicates_absorbed",
        "accepted_per_second",
        "paid_per_second",
        "latency_ms",
        "shipments",
    ] {
        println!("  {key:<22}{}", report[key]);
    }
    println!("  phases");
    for phase in report["phases"].as_array().into_iter().flatten() {
        println!("    {:<12}{}", phase["phase"].as_str().unwrap_or("?"), phase["at"].as_str().unwrap_or("?"));
    }
    println!("  replicas that changed");
    for change in report["replicas"].as_array().into_iter().flatten() {
        let component = change["component"].as_str().unwrap_or("?");
        if component.ends_with("-worker") {
            println!(
                "    {:>4} s  {component:<16} desired {} ready {}",
                change["second"], change["desired"], change["ready"]
            );
        }
    }
    println!("  invariants");
    for (name, result) in report["invariants"].as_object().into_iter().flatten() {
        println!(
            "    {name}  difference {}  ({})",
            result["difference"],
            result["compared"].as_str().unwrap_or("?")
        );
    }
}

/// Fails unless everything was sold, nothing was oversold or lost, every invariant holds, and the workers
/// scaled out with the lag and in again.
pub(crate) fn verdict(report: &Value) -> Result<()> {
    let mut broken = Vec::new();
    for (figure, wanted) in
        [("oversold", json!(0)), ("lost_2xx", json!(0)), ("sold", report["preloaded"].clone())]
    {
        if report[figure] != wanted {
            broken.push(format!("{figure} is {}, not {wanted}", report[figure]));
        }
    }
    if !scaled_out_and_in(report) {
        broken.push("no worker was scaled out and in again".to_owned());
    }
    let invariants = report["invariants"].as_object();
    for name in ["I1", "I2", "I3", "I4", "I5", "I6", "I7"] {
        match invariants.and_then(|all| all.get(name)) {
            Some(result) if result["difference"] == json!(0) => {}
            Some(result) => broken.push(format!("{name}: {result}")),
            None => broken.push(format!("{name} was not checked")),
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("the books do not balance:\n  {}", broken.join("\n  "))
}

/// Whether some component had more replicas than at first and ended with no more than at first.
fn scaled_out_and_in(report: &Value) -> bool {
    let mut desired: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for change in report["replicas"].as_array().into_iter().flatten() {
        let (Some(component), Some(count)) = (change["component"].as_str(), change["desired"].as_u64())
        else {
            continue;
        };
        desired.entry(component).or_default().push(count);
    }
    desired.values().any(|counts| match counts[..] {
        [first, .., last] => counts.iter().any(|count| *count > first) && last <= first,
        _ => false,
    })
}

fn read(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(serde_json::from_slice(&bytes)?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::verdict;

    fn balanced() -> Value {
        let invariants: serde_json::Map<String, Value> =
            (1..=7).map(|number| (format!("I{number}"), json!({"difference": 0}))).collect();
        let replicas: Vec<Value> =
            [1, 3, 1].map(|desired| json!({"component": "order-worker", "desired": desired})).into();
        json!({
            "preloaded": 10, "sold": 10, "oversold": 0, "lost_2xx": 0, "invariants": invariants,
            "replicas": replicas,
        })
    }

    #[test]
    fn a_balanced_report_passes_and_each_broken_figure_fails() {
        assert!(verdict(&balanced()).is_ok());
        for (figure, value) in
            [("oversold", json!(1)), ("lost_2xx", json!(1)), ("sold", json!(9)), ("oversold", Value::Null)]
        {
            let mut report = balanced();
            report[figure] = value;
            assert!(verdict(&report).is_err(), "{figure}");
        }
    }

    #[test]
    fn workers_that_never_scaled_or_stayed_scaled_fail() {
        for counts in [&[1][..], &[1, 3], &[1, 1]] {
            let mut report = balanced();
            report["replicas"] = counts
                .iter()
                .map(|desired| json!({"component": "order-worker", "desired": desired}))
                .collect();
            assert!(verdict(&report).is_err(), "{counts:?}");
        }
    }

    #[test]
    fn an_invariant_that_was_not_checked_fails() {
        let mut report = balanced();
        if let Some(invariants) = report["invariants"].as_object_mut() {
            invariants.remove("I7");
        }
        assert!(verdict(&report).is_err());
    }
}
