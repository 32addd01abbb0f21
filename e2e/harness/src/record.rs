//! Records of measurements: a file of JSON lines to which each run adds one. What other machines and earlier
//! runs gave stays beside it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Adds a line and keeps those that are there.
pub fn append(record: &Path, line: &Value) -> Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(record);
    let written = file.and_then(|mut file| writeln!(file, "{line}"));
    written.with_context(|| record.display().to_string())
}

/// All lines, oldest first; none if nothing was recorded yet.
pub fn read(record: &Path) -> Result<Vec<Value>> {
    let text = match fs::read_to_string(record) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.with_context(|| record.display().to_string())?,
    };
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("{line} in {}", record.display())))
        .collect()
}
