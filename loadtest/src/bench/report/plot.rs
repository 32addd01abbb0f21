//! Plots as inline SVG: bars with their runs, the cores of each process, latencies.

use std::fmt::Write as _;

use super::super::figures::{Figure, Measured};
use super::number;

const WIDTH: f64 = 760.0;
const ROW: f64 = 26.0;
const LABELS: f64 = 250.0;
const VALUES: f64 = 120.0;
const COLOURS: [&str; 12] = [
    "#3d6fb6", "#d9843b", "#5a9e57", "#b8494f", "#8268ac", "#8a6a5b", "#c973a8", "#7d7d7d", "#a9a83a",
    "#3ea3b3", "#1f3f6b", "#7c4a14",
];

/// Medians as bars and runs as ticks, with one scale for all figures of a unit.
pub(super) fn bars(measured: &Measured) -> String {
    let mut units: Vec<&str> = measured.figures.iter().map(|figure| figure.unit.as_str()).collect();
    units.dedup();
    units.sort_unstable();
    units.dedup();
    units.iter().map(|unit| bars_of(measured, unit)).collect()
}

fn bars_of(measured: &Measured, unit: &str) -> String {
    let figures: Vec<&Figure> = measured.figures.iter().filter(|figure| figure.unit == unit).collect();
    let most = figures.iter().flat_map(|figure| &figure.runs).copied().fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LABELS - VALUES) / most;
    let mut svg = open(figures.len());
    for (row, figure) in figures.iter().enumerate() {
        let top = top_of(row);
        let colour = match measured.reached(figure) {
            Some(true) => COLOURS[2],
            Some(false) => COLOURS[3],
            None => COLOURS[7],
        };
        label(&mut svg, top, &figure.label);
        let length = figure.median() * scale;
        let _ = write!(
            svg,
            r#"<rect x="{LABELS}" y="{top:.1}" width="{length:.1}" height="{:.1}" fill="{colour}"/>"#,
            ROW - 8.0
        );
        for run in &figure.runs {
            let x = LABELS + run * scale;
            let _ = write!(
                svg,
                r#"<line x1="{x:.1}" x2="{x:.1}" y1="{top:.1}" y2="{:.1}" stroke="black"/>"#,
                top + ROW - 8.0
            );
        }
        value(
            &mut svg,
            LABELS + most_run(figure) * scale,
            top,
            &format!("{} {unit}", number(figure.median())),
        );
    }
    svg.push_str("</svg>");
    svg
}

fn most_run(figure: &Figure) -> f64 {
    figure.runs.iter().copied().fold(0.0, f64::max)
}

/// Which process used how much of the machine, side by side.
pub(super) fn cores(measured: &Measured) -> String {
    let figures: Vec<&Figure> = measured.figures.iter().filter(|figure| !figure.cores.is_empty()).collect();
    if figures.is_empty() {
        return String::new();
    }
    let mut names: Vec<&String> = figures.iter().flat_map(|figure| figure.cores.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let most =
        figures.iter().map(|figure| figure.cores.values().sum::<f64>()).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LABELS - VALUES) / most;
    let mut svg = open(figures.len());
    for (row, figure) in figures.iter().enumerate() {
        let top = top_of(row);
        label(&mut svg, top, &figure.label);
        let mut left = LABELS;
        for (place, name) in names.iter().enumerate() {
            let used = figure.cores.get(*name).copied().unwrap_or_default();
            let _ = write!(
                svg,
                r#"<rect x="{left:.1}" y="{top:.1}" width="{:.1}" height="{:.1}" fill="{}"><title>{name} {used:.2}</title></rect>"#,
                used * scale,
                ROW - 8.0,
                COLOURS[place % COLOURS.len()]
            );
            left += used * scale;
        }
        value(&mut svg, left, top, &format!("{:.2} cores", figure.cores.values().sum::<f64>()));
    }
    svg.push_str("</svg>");
    let shown = |(place, name): (usize, &&String)| {
        let used: f64 = figures.iter().filter_map(|figure| figure.cores.get(name.as_str())).sum();
        (used >= 0.02)
            .then(|| format!(r#"<span style="color:{}">■</span> {name} "#, COLOURS[place % COLOURS.len()]))
    };
    let legend: String = names.iter().enumerate().filter_map(shown).collect();
    format!("<p>Cores used: {legend}</p>{svg}")
}

/// Latency by quantile, on a logarithmic scale: it spans tenths of a millisecond to seconds.
pub(super) fn latencies(measured: &Measured) -> String {
    let figures: Vec<&Figure> =
        measured.figures.iter().filter(|figure| !figure.latency_ms.is_empty()).collect();
    let quantiles = ["p50", "p90", "p99", "p99.9", "max"];
    if figures.is_empty() {
        return String::new();
    }
    let place = |ms: f64| LABELS + (ms.max(0.1).log10() + 1.0) * (WIDTH - LABELS - 40.0) / 5.0;
    let mut svg = open(figures.len() + 1);
    for decade in [0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0] {
        let x = place(decade);
        let bottom = top_of(figures.len());
        let _ = write!(
            svg,
            r##"<line x1="{x:.1}" x2="{x:.1}" y1="0" y2="{bottom:.1}" stroke="#ddd"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{} ms</text>"##,
            bottom + 14.0,
            decade
        );
    }
    for (row, figure) in figures.iter().enumerate() {
        let top = top_of(row);
        label(&mut svg, top, &figure.label);
        for (colour, quantile) in quantiles.iter().enumerate() {
            let Some(ms) = figure.latency_ms.get(*quantile) else { continue };
            let _ = write!(
                svg,
                r#"<circle cx="{:.1}" cy="{:.1}" r="5" fill="{}"><title>{quantile} {ms:.2} ms</title></circle>"#,
                place(*ms),
                top + ROW / 2.0 - 4.0,
                COLOURS[colour]
            );
        }
    }
    svg.push_str("</svg>");
    let legend: Vec<_> = quantiles
        .iter()
        .zip(COLOURS)
        .map(|(quantile, colour)| format!(r#"<span style="color:{colour}">●</span> {quantile}"#))
        .collect();
    format!("<p>Latency: {}</p>{svg}", legend.join(" "))
}

#[expect(clippy::cast_precision_loss, reason = "a page has few rows")]
fn top_of(row: usize) -> f64 {
    4.0 + row as f64 * ROW
}

fn open(rows: usize) -> String {
    let height = top_of(rows) + 4.0;
    format!(r#"<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">"#)
}

fn label(svg: &mut String, top: f64, text: &str) {
    let _ =
        write!(svg, r#"<text x="{}" y="{:.1}" text-anchor="end">{text}</text>"#, LABELS - 8.0, top + 14.0);
}

fn value(svg: &mut String, x: f64, top: f64, text: &str) {
    let _ = write!(svg, r#"<text x="{:.1}" y="{:.1}">{text}</text>"#, x + 6.0, top + 14.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_is_drawn() {
        let mut figure = Figure::new("ours", "1/s");
        figure.runs = vec![1.0, 2.0, 3.0];
        let measured = Measured {
            name: "x".into(),
            what: String::new(),
            figures: vec![figure],
            notes: Vec::new(),
            commit: String::new(),
            took_seconds: 1.0,
            quick: false,
        };
        let svg = bars(&measured);
        assert_eq!((svg.matches("<rect").count(), svg.matches("<line").count()), (1, 3));
        assert!(svg.contains("2.00 1/s") && svg.ends_with("</svg>"));
    }
}
