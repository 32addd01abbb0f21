//! Whole runs side by side: `docs/benchmarks.jsonl` for machines, a table in the document for people.
//!
//! A shared machine is not equally fast at all hours. The no-op and the other limits of the same run show how
//! fast it was.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rocketmart_harness::record;
use serde::{Deserialize, Serialize};

use super::super::figures::{Figure, Measured};
use super::{Machine, number};

/// How many runs the table shows, newest last.
const SHOWN: usize = 4;

/// One run of all scenarios, one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WholeRun {
    pub(crate) at: String,
    pub(crate) commit: String,
    pub(crate) processor: String,
    pub(crate) minutes: f64,
    /// The figures that have a target, and the limits they are compared with.
    figures: Vec<Told>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Told {
    scenario: String,
    label: String,
    unit: String,
    median: f64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    of_limit: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    reached: Option<bool>,
}

impl WholeRun {
    pub(crate) fn of(machine: &Machine, all: &[Measured]) -> Self {
        let counts = |measured: &Measured, figure: &Figure| {
            let asked = |one: &Figure| measured.reached(one).is_some();
            let label = Some(figure.label.as_str());
            asked(figure)
                || measured.figures.iter().any(|other| asked(other) && other.limit.as_deref() == label)
        };
        let mut figures = Vec::new();
        for measured in all {
            for figure in measured.figures.iter().filter(|figure| counts(measured, figure)) {
                figures.push(Told {
                    scenario: measured.name.clone(),
                    label: figure.label.clone(),
                    unit: figure.unit.clone(),
                    median: figure.median(),
                    of_limit: measured.share(figure),
                    reached: measured.reached(figure),
                });
            }
        }
        let seconds: f64 = all.iter().map(|measured| measured.took_seconds).sum();
        Self {
            at: machine.measured_at.clone(),
            commit: machine.commit.clone(),
            processor: machine.processor.clone(),
            minutes: seconds / 60.0,
            figures,
        }
    }

    fn told(&self, scenario: &str, label: &str) -> Option<&Told> {
        self.figures.iter().find(|told| told.scenario == scenario && told.label == label)
    }
}

/// The record that belongs to a document.
fn beside(document: &Path) -> PathBuf {
    document.with_extension("jsonl")
}

pub(super) fn read(document: &Path) -> Result<Vec<WholeRun>> {
    let record = beside(document);
    let runs = record::read(&record)?.into_iter().map(serde_json::from_value).collect::<Result<_, _>>();
    runs.with_context(|| record.display().to_string())
}

pub(super) fn add(document: &Path, run: &WholeRun) -> Result<()> {
    record::append(&beside(document), &serde_json::to_value(run)?)
}

/// A row for each figure of the newest run, a column for each of the newest runs.
pub(super) fn table(text: &mut String, runs: &[WholeRun]) {
    let Some(newest) = runs.last() else { return };
    let shown = &runs[runs.len().saturating_sub(SHOWN)..];
    text.push_str(
        "## Whole runs\n\nAll scenarios in one run, the newest last; in brackets the share of the limit that was measured \
         in the same run, **bold** where something was asked for and not reached. A machine shared with \
         others is not as fast at each hour: the limits (no-op, bare inserts) say how fast it was.\n\n",
    );
    let row = |text: &mut String, head: &str, cell: &dyn Fn(&WholeRun) -> String| {
        let cells: Vec<String> = shown.iter().map(cell).collect();
        let _ = writeln!(text, "| {head} | {} |", cells.join(" | "));
    };
    row(text, "when", &|run| run.at.get(..16).unwrap_or(&run.at).replace('T', " "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(shown.len()));
    row(text, "commit", &|run| run.commit.clone());
    row(text, "processor", &|run| run.processor.clone());
    row(text, "minutes", &|run| number(run.minutes));
    for told in &newest.figures {
        row(text, &format!("{}: {}", told.scenario, told.label), &|run| {
            run.told(&told.scenario, &told.label).map_or_else(|| "–".to_owned(), cell)
        });
    }
    text.push('\n');
}

fn cell(told: &Told) -> String {
    let share = told.of_limit.map(|share| format!(" ({:.0} %)", share * 100.0)).unwrap_or_default();
    let value = format!("{} {}", number(told.median), told.unit);
    let value = value.trim_end();
    if told.reached == Some(false) { format!("**{value}**{share}") } else { format!("{value}{share}") }
}

#[cfg(test)]
mod tests {
    use super::super::super::figures::Reach;
    use super::*;

    fn machine(at: &str) -> Machine {
        Machine {
            measured_at: at.to_owned(),
            commit: "c0ffee".to_owned(),
            processor: "a processor".to_owned(),
            cores: 2,
            memory_gib: 24,
            kernel: String::new(),
            versions: Vec::new(),
            command: String::new(),
        }
    }

    fn measured(limit: f64, ours: f64) -> Measured {
        Measured {
            name: "accept".to_owned(),
            what: String::new(),
            figures: vec![
                Figure::new("no-op", "1/s").of(limit),
                Figure::new("accept", "1/s").against("no-op").reaching(Reach::OfLimit(0.7)).of(ours),
                Figure::new("beside it", "1/s").against("no-op").of(1.0),
            ],
            notes: Vec::new(),
            took_seconds: 90.0,
            commit: String::new(),
            quick: false,
        }
    }

    #[test]
    fn runs_stand_beside_each_other_with_their_limits() {
        let folder = tempfile::tempdir().expect("a folder");
        let document = folder.path().join("benchmarks.md");
        assert_eq!(read(&document).expect("no record yet"), []);
        for (at, limit, ours) in
            [("2026-11-30T04:00:00Z", 70_000.0, 50_000.0), ("2026-12-01T04:00:00Z", 30_000.0, 20_000.0)]
        {
            add(&document, &WholeRun::of(&machine(at), &[measured(limit, ours)])).expect("a line");
        }
        let runs = read(&document).expect("the record");
        assert_eq!(runs.len(), 2);
        let mut text = String::new();
        table(&mut text, &runs);
        for line in [
            "| when | 2026-11-30 04:00 | 2026-12-01 04:00 |",
            "| minutes | 1.50 | 1.50 |",
            "| accept: no-op | 70,000 1/s | 30,000 1/s |",
            "| accept: accept | 50,000 1/s (71 %) | **20,000 1/s** (67 %) |",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("beside it"), "{text}");
    }
}
