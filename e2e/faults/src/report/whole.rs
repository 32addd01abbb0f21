//! Whole runs in the record: all rows, one after the other. A row that held three times may have been
//! repeated until it did; a whole run cannot have been.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::Value;

use super::{all, commits, held, minute, sum};

/// How many of them the document shows.
const NEWEST: usize = 5;

/// The table of the newest whole runs, newest last.
pub(super) fn table(runs: &[Value], rows: &[&str]) -> Result<String> {
    let whole = whole(runs, rows);
    if whole.is_empty() {
        return Ok(String::new());
    }
    let mut text = String::from(
        "\n## Whole runs\n\nAll rows, one after the other, in the same shop until one of them does not hold. The newest:\n\n\
         | rows that held | injections | requests | lost | oversold | double | what did not hold | minutes | until (UTC) | at |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for run in whole.iter().skip(whole.len().saturating_sub(NEWEST)) {
        let run: Vec<&Value> = run.iter().collect();
        let total = |field: &'static str| sum(&run, move |row| &row[field]);
        let broken: Vec<_> =
            run.iter().filter(|row| !held(row)).filter_map(|row| row["name"].as_str()).collect();
        writeln!(
            text,
            "| {} of {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            run.len() - broken.len(),
            run.len(),
            total("injections"),
            total("operations"),
            total("lost"),
            total("oversold"),
            total("charged_twice"),
            if broken.is_empty() { "–".to_owned() } else { broken.join(", ") },
            sum(&run, |row| &row["seconds"]) / 60,
            all(&run, "at").last().map_or("", minute),
            commits(&run)
        )?;
    }
    Ok(text)
}

/// Finds runs where each row of the list follows the one before.
fn whole<'a>(runs: &'a [Value], rows: &[&str]) -> Vec<&'a [Value]> {
    let in_order = |window: &&[Value]| window.iter().zip(rows).all(|(run, row)| run["name"] == *row);
    runs.windows(rows.len()).filter(in_order).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_that_were_repeated_by_themselves_make_no_whole_run() -> Result<()> {
        let run = |name: &str, troubles: Value| json!({"name": name, "injections": 2, "troubles": troubles});
        let (fine, broken) = (json!([]), json!(["lost one"]));
        let runs = [
            run("first", fine.clone()),
            run("second", broken),
            run("first", fine.clone()),
            run("campaign-1-0", fine.clone()),
            run("second", fine.clone()),
            run("first", fine.clone()),
            run("second", fine),
        ];

        assert_eq!(whole(&runs, &["first", "second"]), [&runs[..2], &runs[5..]]);
        let table = table(&runs, &["first", "second"])?;
        assert!(table.contains("| 1 of 2 | 4 | 0 | 0 | 0 | 0 | second |"), "{table}");
        assert!(table.contains("| 2 of 2 | 4 | 0 | 0 | 0 | 0 | – |"), "{table}");
        Ok(())
    }
}
