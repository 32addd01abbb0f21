//! `scale`: from lag to a decision to a ready pod.
//!
//! That takes a node. The demo on the node records when its sale opened, when each worker's wanted and ready
//! replicas changed, and how long each new pod took to start. This scenario reads the demo's report. Without
//! one there is nothing to measure, and it says so.

use std::path::Path;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::figures::Figure;
use super::{Answer, Bench};

const REPORT: &str = "target/demo/report.json";
const WHAT: &str =
    "Seconds from lag to the operator's decision to scale a worker to its pods being ready, on a node.";

#[expect(clippy::unnecessary_wraps, reason = "as every scenario answers")]
pub(super) fn measure(_bench: &mut Bench) -> Answer {
    let report = std::fs::read(Path::new(REPORT)).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let figures = report.as_ref().map(figures).unwrap_or_default();
    if figures.is_empty() {
        let note = "Not measured: it takes a node on which `cargo xtask demo` has scaled a worker, and there is no report of one.";
        return Ok((WHAT, Vec::new(), vec![note.to_owned()]));
    }
    let notes = [
        "From the report of the last `cargo xtask demo` on this machine's node, which looks once a second.",
        "Lag begins with the sale's opening, when hundreds of purchases a second begin; the autoscaler looks at it \
         every second. What has to become ready starts beside the rush, on the same two cores.",
    ];
    Ok((WHAT, figures, notes.map(str::to_owned).to_vec()))
}

/// All figures that the report contains.
fn figures(report: &Value) -> Vec<Figure> {
    let mut figures: Vec<Figure> = first_decision(report).into_iter().collect();
    figures.extend(decisions(report));
    figures.extend(starts(report));
    figures
}

/// Adds a run to the figure of this label.
fn note(figures: &mut Vec<Figure>, label: String, seconds: f64) {
    match figures.iter_mut().find(|figure| figure.label == label) {
        Some(figure) => figure.runs.push(seconds),
        None => figures.push(Figure::new(label, "s").of(seconds)),
    }
}

/// Time from the opening to the first change of the wanted replicas.
fn first_decision(report: &Value) -> Option<Figure> {
    let moment = |value: &Value| OffsetDateTime::parse(value.as_str()?, &Rfc3339).ok();
    let mut phases = report["phases"].as_array()?.iter();
    let opened = moment(&phases.find(|phase| phase["phase"] == "Open")?["at"])?;
    let mut changes = report["replicas"].as_array()?.iter();
    let decided = changes.find_map(|change| {
        let at = moment(&change["at"]).filter(|at| *at > opened)?;
        (is_worker(change) && change["desired"].as_u64() > change["ready"].as_u64()).then_some(at)
    })?;
    Some(Figure::new("lag to decision", "s").of((decided - opened).as_seconds_f64()))
}

fn is_worker(change: &Value) -> bool {
    change["component"].as_str().is_some_and(|component| component.ends_with("-worker"))
}

/// How long each worker pod took from creation to readiness.
fn starts(report: &Value) -> Vec<Figure> {
    let mut figures = Vec::new();
    for start in report["pod_starts"].as_array().into_iter().flatten() {
        if let (Some(component), Some(seconds)) = (start["component"].as_str(), start["seconds"].as_f64()) {
            note(&mut figures, format!("{component}, pod start alone"), seconds);
        }
    }
    figures
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
        if !is_worker(change) {
            continue;
        }
        let known = wanted.iter().position(|(name, ..)| *name == component);
        match known {
            Some(place) if ready >= wanted[place].1 => {
                let (_, _, since) = wanted.remove(place);
                note(&mut figures, format!("{component}, decision to ready"), second - since);
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

    #[test]
    fn the_first_decision_counts_from_the_opening_and_each_start_from_its_pod() {
        let report = json!({
            "phases": [{"phase": "Ready", "at": "2030-01-01T00:00:00Z"}, {"phase": "Open", "at": "2030-01-01T00:00:10Z"}],
            "replicas": [
                {"component": "order-worker", "at": "2030-01-01T00:00:05Z", "desired": 2, "ready": 1},
                {"component": "order", "at": "2030-01-01T00:00:11Z", "desired": 2, "ready": 1},
                {"component": "order-worker", "at": "2030-01-01T00:00:14.5Z", "desired": 4, "ready": 2},
            ],
            "pod_starts": [{"component": "order-worker", "seconds": 3}, {"component": "order-worker", "seconds": 5}],
        });
        assert_eq!(first_decision(&report).map(|figure| figure.median()), Some(4.5));
        let starts = starts(&report);
        assert_eq!((starts.len(), starts[0].median()), (1, 4.0));
    }
}
