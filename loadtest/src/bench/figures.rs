//! Figures: what was measured, what it is compared with, and what it should reach.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A figure measured in several runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) label: String,
    pub(crate) unit: String,
    /// One value per run.
    pub(crate) runs: Vec<f64>,
    /// The label of the figure in the same scenario that is its limit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) limit: Option<String>,
    #[serde(default)]
    pub(crate) reach: Vec<Reach>,
    /// Cores used by each process in the last run.
    #[serde(default)]
    pub(crate) cores: BTreeMap<String, f64>,
    /// Milliseconds by quantile, in the last run.
    #[serde(default)]
    pub(crate) latency_ms: BTreeMap<String, f64>,
}

/// What a figure should reach.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reach {
    AtLeast(f64),
    AtMost(f64),
    /// This share of its limit.
    OfLimit(f64),
}

impl Figure {
    pub(crate) fn new(label: impl Into<String>, unit: &str) -> Self {
        Self {
            label: label.into(),
            unit: unit.to_owned(),
            runs: Vec::new(),
            limit: None,
            reach: Vec::new(),
            cores: BTreeMap::new(),
            latency_ms: BTreeMap::new(),
        }
    }

    pub(crate) fn against(mut self, limit: &str) -> Self {
        self.limit = Some(limit.to_owned());
        self
    }

    pub(crate) fn reaching(mut self, reach: Reach) -> Self {
        self.reach.push(reach);
        self
    }

    pub(crate) fn of(mut self, value: f64) -> Self {
        self.runs.push(value);
        self
    }

    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.runs.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => 0.0,
            odd if odd % 2 == 1 => sorted[odd / 2],
            even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
        }
    }

    /// The distance between the highest and the lowest run, as a share of the median.
    pub(crate) fn spread(&self) -> f64 {
        let least = self.runs.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.runs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if self.median() == 0.0 || self.runs.len() < 2 { 0.0 } else { (most - least) / self.median() }
    }
}

/// One scenario, measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) name: String,
    /// What it measures.
    pub(crate) what: String,
    pub(crate) figures: Vec<Figure>,
    /// What a reader has to know to trust the figures.
    pub(crate) notes: Vec<String>,
    /// How long it took in total, in seconds.
    pub(crate) took_seconds: f64,
    /// The commit that was measured: scenarios may be measured one by one.
    pub(crate) commit: String,
    /// Set on the command line: a short try is not a measurement.
    pub(crate) quick: bool,
}

impl Measured {
    pub(crate) fn figure(&self, label: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.label == label)
    }

    /// A figure as a share of its limit.
    pub(crate) fn share(&self, figure: &Figure) -> Option<f64> {
        let limit = self.figure(figure.limit.as_deref()?)?.median();
        (limit > 0.0).then(|| figure.median() / limit)
    }

    /// Whether a figure reaches what it should; `None` if it has no target.
    pub(crate) fn reached(&self, figure: &Figure) -> Option<bool> {
        let holds = |reach: &Reach| match reach {
            Reach::AtLeast(least) => figure.median() >= *least,
            Reach::AtMost(most) => figure.median() <= *most,
            Reach::OfLimit(share) => self.share(figure).is_some_and(|reached| reached >= *share),
        };
        (!figure.reach.is_empty()).then(|| figure.reach.iter().all(holds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(runs: &[f64], reach: Reach) -> Measured {
        let mut figure = Figure::new("ours", "1/s").against("limit").reaching(reach);
        figure.runs = runs.to_vec();
        Measured {
            name: "x".into(),
            what: String::new(),
            figures: vec![Figure::new("limit", "1/s").of(100.0), figure],
            notes: Vec::new(),
            took_seconds: 0.0,
            commit: String::new(),
            quick: false,
        }
    }

    #[test]
    fn the_median_run_is_what_counts() {
        let measured = measured(&[90.0, 60.0, 70.0], Reach::OfLimit(0.7));
        let ours = &measured.figures[1];
        assert_eq!((ours.median(), measured.share(ours)), (70.0, Some(0.7)));
        assert!((ours.spread() - 30.0 / 70.0).abs() < 1e-9);
        assert_eq!(measured.reached(ours), Some(true));
    }

    #[test]
    fn what_falls_short_is_said_to() {
        for reach in [Reach::OfLimit(0.71), Reach::AtLeast(70.5), Reach::AtMost(69.0)] {
            let measured = measured(&[70.0], reach);
            assert_eq!(measured.reached(&measured.figures[1]), Some(false), "{reach:?}");
        }
        assert_eq!(measured(&[70.0], Reach::AtMost(1.0)).reached(&Figure::new("free", "1/s")), None);
    }
}
