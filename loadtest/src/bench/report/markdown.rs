//! `docs/benchmarks.md`.

use std::fmt::Write as _;

use super::super::figures::{Figure, Measured, Reach};
use super::{Machine, WholeRun, number, whole};

/// Writing into a `String` does not fail.
pub(super) fn render(machine: &Machine, all: &[Measured], runs: &[WholeRun]) -> String {
    let mut text = String::from(
        "# Benchmarks\n\nWritten by `cargo xtask bench`; do not edit. Everything runs on one machine: services, Redis \
         with `appendfsync always`, Kafka, PostgreSQL with `synchronous_commit` on, and the load generator. After \
         every run the invariants I1–I7 are proved by the close-out of the sale and by an independent checker; a run \
         that breaks one has no figures. What can be limited by the machine is measured against a limit of the same \
         run.\n\n",
    );
    if all.iter().any(|measured| measured.quick) {
        text.push_str("**From a short try (`--quick`): these are no measurements.**\n\n");
    }
    machine_table(&mut text, machine);
    reach_table(&mut text, all);
    whole::table(&mut text, runs);
    for measured in all {
        section(&mut text, machine, measured);
    }
    let took: f64 = all.iter().map(|measured| measured.took_seconds).sum();
    let _ = writeln!(text, "\nAll of it took {:.1} minutes, building not included.", took / 60.0);
    text
}

fn machine_table(text: &mut String, machine: &Machine) {
    let _ = writeln!(
        text,
        "| | |\n|---|---|\n| machine | {} cores of {}, {} GiB, Linux {} |\n| commit | {} |\n| when | {} |\n| command | `{}` |",
        machine.cores,
        machine.processor,
        machine.memory_gib,
        machine.kernel,
        machine.commit,
        machine.measured_at,
        machine.command
    );
    for (name, version) in &machine.versions {
        let _ = writeln!(text, "| {name} | {version} |");
    }
    text.push('\n');
}

fn reach_table(text: &mut String, all: &[Measured]) {
    text.push_str("## What was asked for, and what was reached\n\n");
    text.push_str(
        "| scenario | figure | median | of its limit | asked for | reached |\n|---|---|---|---|---|---|\n",
    );
    for measured in all {
        for figure in &measured.figures {
            let Some(reached) = measured.reached(figure) else { continue };
            let _ = writeln!(
                text,
                "| {} | {} | {} {} | {} | {} | {} |",
                measured.name,
                figure.label,
                number(figure.median()),
                figure.unit,
                share(measured, figure),
                figure.reach.iter().map(said).collect::<Vec<_>>().join(", "),
                if reached { "yes" } else { "**no**" }
            );
        }
    }
    text.push('\n');
}

fn section(text: &mut String, machine: &Machine, measured: &Measured) {
    let _ = writeln!(text, "## {}\n\n{}\n", measured.name, measured.what);
    if measured.commit != machine.commit {
        let _ = writeln!(text, "Measured apart, at commit {}.\n", measured.commit);
    }
    if !measured.figures.is_empty() {
        text.push_str("| figure | median | runs | spread | of its limit | p50 / p99 ms | cores used |\n|---|---|---|---|---|---|---|\n");
    }
    for figure in &measured.figures {
        let runs: Vec<String> = figure.runs.iter().take(5).map(|run| number(*run)).collect();
        let more =
            if figure.runs.len() > 5 { format!(" … {} in all", figure.runs.len()) } else { String::new() };
        let _ = writeln!(
            text,
            "| {} | {} {} | {}{more} | {:.0} % | {} | {} | {} |",
            figure.label,
            number(figure.median()),
            figure.unit,
            runs.join(", "),
            figure.spread() * 100.0,
            share(measured, figure),
            latency(figure),
            cores(figure)
        );
    }
    text.push('\n');
    for note in &measured.notes {
        let _ = writeln!(text, "- {note}");
    }
    text.push('\n');
}

fn share(measured: &Measured, figure: &Figure) -> String {
    measured.share(figure).map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", share * 100.0))
}

fn latency(figure: &Figure) -> String {
    let at = |quantile: &str| figure.latency_ms.get(quantile).map(|ms| number(*ms));
    match (at("p50"), at("p99")) {
        (Some(half), Some(tail)) => format!("{half} / {tail}"),
        _ => "–".to_owned(),
    }
}

fn cores(figure: &Figure) -> String {
    let mut cores: Vec<_> = figure.cores.iter().filter(|(_, used)| **used >= 0.02).collect();
    cores.sort_by(|a, b| b.1.total_cmp(a.1));
    let parts: Vec<String> = cores.iter().map(|(name, used)| format!("{name} {used:.2}")).collect();
    if parts.is_empty() { "–".to_owned() } else { parts.join(", ") }
}

fn said(reach: &Reach) -> String {
    match reach {
        Reach::AtLeast(least) => format!("≥ {}", number(*least)),
        Reach::AtMost(most) => format!("≤ {}", number(*most)),
        Reach::OfLimit(share) => format!("≥ {:.0} % of its limit", share * 100.0),
    }
}
