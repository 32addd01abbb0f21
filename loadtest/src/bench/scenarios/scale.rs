//! `scale`: from lag to a decision to a pod that is ready.
//!
//! That takes a node. The demo on the node records when each worker's wanted and ready replicas changed;
//! its report is read here. Without one there is nothing to measure, and this says so.

use std::path::Path;

use serde_json::Value;

use super::super::figures::Figure;
use super::{Answer, Bench};

const REPORT: &str = "target/demo/report.json";
const WHAT: &str =
    "Seconds from the operator's decision to scale a worker to its pod being ready, on a node.";

#[expect(clippy::unnecessary_wraps, reason = "as every scenario answers")]
pub(super) fn measure(_bench: &mut Bench) -> Answer {
    let report = std::fs::read(Path::new(REPORT)).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let figures = report.as_ref().map(decisions).unwrap_or_default();
    let note = if figures.is_empty() {
        "Not measured: it takes a node on which `cargo xtask demo` has scaled a worker, and there is no report of one."
    } else {
        "From the report of the last `cargo xtask demo` on this machine's node."
    };
    Ok((WHAT, figures, vec![note.to_owned()]))
}

/// For each worker: the time between wanting more replicas and having them.
fn decisions(report: &Value) -> Vec<Figure> {
    let mut figures: Vec<Figure> = Vec::new();
    let mut wanted: Vec<(&str, u64, f64)> = Vec::new();
    for change in report["replicas"].as_array().into_iter().flatten() {
        let (Some(component), Some(second), Some(desired), Some(ready)) = (
            change["component"].as_str(),
            change["second"].as_f64(),
            change["desired"].as_u64(),
            change["ready"].as_u64(),
        ) else {
            continue;
        };
        if !component.ends_with("-worker") {
            continue;
        }
        let known = wanted.iter().position(|(name, ..)| *name == component);
        match known {
            Some(place) if ready >= wanted[place].1 => {
                let (_, _, since) = wanted.remove(place);
                let label = format!("{component}, decision to ready");
                match figures.iter_mut().find(|figure| figure.label == label) {
                    Some(figure) => figure.runs.push(second - since),
                    None => figures.push(Figure::new(label, "s").of(second - since)),
                }
            }
            None if desired > ready => wanted.push((component, desired, second)),
            _ => {}
        }
    }
    figures
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_decision_lasts_until_its_replicas_are_ready() {
        let report = json!({"replicas": [
            {"component": "order-worker", "second": 10, "desired": 1, "ready": 1},
            {"component": "order-worker", "second": 12, "desired": 3, "ready": 1},
            {"component": "order-worker", "second": 14, "desired": 3, "ready": 2},
            {"component": "order", "second": 14, "desired": 3, "ready": 2},
            {"component": "order-worker", "second": 17, "desired": 3, "ready": 3},
        ]});
        let figures = decisions(&report);
        assert_eq!((figures.len(), figures[0].runs.as_slice()), (1, &[5.0][..]));
    }
}
