//! `target/bench/index.html`: the figures as plots, in one self-contained file.

use std::fmt::Write as _;

use super::super::figures::Measured;
use super::{Machine, plot};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:800px;margin:2em auto;padding:0 1em}\
                     svg{font:12px system-ui,sans-serif;display:block;margin:.5em 0}h2{margin-top:2.5em}";

pub(super) fn render(machine: &Machine, all: &[Measured]) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Rocket Mart benchmarks</title><style>{STYLE}</style>\
         <h1>Benchmarks</h1><p>{} cores of {}, {} GiB, Linux {}; commit {}; {}.</p>\
         <p>Bars are medians, ticks are runs; green reaches what was asked for, red does not, grey was asked for nothing.</p>",
        machine.cores,
        machine.processor,
        machine.memory_gib,
        machine.kernel,
        machine.commit,
        machine.measured_at
    );
    for measured in all {
        let _ = write!(
            page,
            "<h2>{}</h2><p>{}</p>{}{}{}",
            measured.name,
            measured.what,
            plot::bars(measured),
            plot::latencies(measured),
            plot::cores(measured)
        );
        if !measured.notes.is_empty() {
            let _ = write!(page, "<ul><li>{}</li></ul>", measured.notes.join("</li><li>"));
        }
    }
    page.push_str("</html>\n");
    page
}
