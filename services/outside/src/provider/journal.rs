//! The state file: one JSON line per change, appended before the change is answered and read back at start. A
//! line that a crash cut short was never answered, so it is dropped.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::records::{Authorization, Charge, Refund};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    Charge {
        key: String,
        digest: u64,
        charge: Charge,
    },
    Refund {
        key: String,
        digest: u64,
        refund: Refund,
    },
    Void {
        reference: String,
    },
    Authorization {
        key: String,
        digest: u64,
        authorization: Authorization,
    },
    /// The charge names its authorization.
    Capture {
        key: String,
        digest: u64,
        charge: Charge,
    },
    AuthorizationVoid {
        key: String,
        digest: u64,
        authorization_id: String,
    },
}

pub(super) struct Journal(File);

impl Journal {
    /// Opens the file at `path` and passes every change in it to `replay`, in their order.
    pub(super) fn open(path: &Path, mut replay: impl FnMut(Entry)) -> anyhow::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut reader = BufReader::new(&file);
        let (mut line, mut complete) = (String::new(), 0);
        while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
            let entry = serde_json::from_str(&line).with_context(|| format!("reading the line {line}"))?;
            replay(entry);
            complete += line.len() as u64;
            line.clear();
        }
        file.set_len(complete)?;
        Ok(Self(file))
    }

    /// A simulator that cannot write continues from memory, and says so.
    pub(super) fn append(&mut self, entry: &Entry) {
        let written = serde_json::to_string(entry)
            .map_err(std::io::Error::from)
            .and_then(|line| self.0.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = written {
            tracing::error!(%error, "the state file cannot be written");
        }
    }
}
