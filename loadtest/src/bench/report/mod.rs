//! Writes the figures to `target/bench/<name>.json`, one HTML page with plots and `docs/benchmarks.md`; a run
//! of all scenarios also adds a line to `docs/benchmarks.jsonl`.
//!
//! The page and the document are made from the JSON files, so scenarios that were measured one by one come
//! together.

mod machine;
mod markdown;
mod page;
mod plot;
mod whole;

use std::path::Path;
use std::{fs, io};

use anyhow::{Context as _, Result};

pub(crate) use machine::Machine;
pub(crate) use whole::WholeRun;

use super::figures::Measured;

pub(crate) fn write(folder: &Path, measured: &Measured) -> Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{}.json", measured.name));
    fs::write(&path, serde_json::to_vec_pretty(measured)?).with_context(|| path.display().to_string())
}

/// Removes what an earlier run wrote: a scenario that failed now has no figures.
pub(crate) fn forget(folder: &Path, name: &str) -> Result<()> {
    let path = folder.join(format!("{name}.json"));
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}

/// The scenarios in `names` that have been measured, in their order.
pub(crate) fn read(folder: &Path, names: &[&str]) -> Result<Vec<Measured>> {
    let mut all = Vec::new();
    for name in names {
        let path = folder.join(format!("{name}.json"));
        if path.exists() {
            let text = fs::read(&path)?;
            all.push(serde_json::from_slice(&text).with_context(|| path.display().to_string())?);
        }
    }
    Ok(all)
}

/// `whole`: this command measured all scenarios.
pub(crate) fn publish(
    folder: &Path,
    document: Option<&Path>,
    machine: &Machine,
    all: &[Measured],
    whole: bool,
) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("machine.json"), serde_json::to_vec_pretty(machine)?)?;
    fs::write(folder.join("index.html"), page::render(machine, all))?;
    if let Some(document) = document {
        if whole {
            whole::add(document, &WholeRun::of(machine, all))?;
        }
        fs::write(document, markdown::render(machine, all, &whole::read(document)?))?;
    }
    Ok(())
}

/// A number as a person writes it: no more digits than are meaningful.
pub(crate) fn number(value: f64) -> String {
    let text = if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    };
    let (whole, rest) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let digits = whole.trim_start_matches('-');
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if whole.starts_with('-') { "-" } else { "" };
    rest.map_or_else(|| format!("{sign}{grouped}"), |rest| format!("{sign}{grouped}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_have_as_many_digits_as_they_need() {
        let table = [
            (1_234_567.8, "1,234,568"),
            (999.6, "1,000"),
            (25.04, "25.0"),
            (1.666, "1.67"),
            (-1_500.0, "-1,500"),
        ];
        for (value, text) in table {
            assert_eq!(number(value), text);
        }
    }
}
