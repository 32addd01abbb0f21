//! `memory`: how much memory each process has before anything has happened and after the heaviest run.

use super::super::figures::Figure;
use super::{Answer, Bench, paid};

const WHAT: &str = "Resident memory of each process in MiB (its own and its share of what it shares): idle, and the \
                    most that was seen after any scenario of this run.";

pub(super) fn measure(bench: &mut Bench) -> Answer {
    if bench.peak_mib.is_empty() {
        // Nothing has happened yet if this scenario runs alone.
        paid::measure(bench)?;
        bench.note_memory()?;
    }
    let mut figures = Vec::new();
    for (name, idle) in &bench.idle_mib {
        figures.push(Figure::new(format!("{name}, idle"), "MiB").of(*idle));
        let peak = bench.peak_mib.get(name).copied().unwrap_or(*idle);
        figures.push(Figure::new(format!("{name}, peak"), "MiB").of(peak));
    }
    Ok((WHAT, figures, Vec::new()))
}
