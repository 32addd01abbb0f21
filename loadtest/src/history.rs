//! What shoppers did and were told, one JSON object per line.
//!
//! An operation is `ok` (2xx), `refused` (a definite 4xx) or `unknown` (a 5xx, a time-out, a broken
//! connection). An unknown one may have happened. The checker reads this file and nothing else of ours.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    sync::Mutex,
};

use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Purchase,
    PreparePayment,
    ConfirmPayment,
}

#[derive(Debug, Clone, Copy, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    Refused,
    Unknown,
}

/// One request and its answer. Times are Unix microseconds by the client's clock.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    pub operation: Operation,
    pub buyer: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Uuid>,
    pub started_us: i64,
    pub ended_us: i64,
    pub outcome: Outcome,
    /// HTTP status; 0 if no answer came.
    pub status: u16,
    /// The problem's code, for a refusal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Uuid>,
}

/// Writes records as they come and keeps them for the summary.
#[derive(Debug)]
pub struct History {
    inner: Mutex<(BufWriter<File>, Vec<Record>)>,
}

impl History {
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self { inner: Mutex::new((BufWriter::new(file), Vec::new())) })
    }

    pub fn record(&self, record: Record) -> Result<()> {
        let mut inner = self.inner.lock().map_err(|_| anyhow!("the history is poisoned"))?;
        serde_json::to_writer(&mut inner.0, &record)?;
        inner.0.write_all(b"\n")?;
        inner.1.push(record);
        Ok(())
    }

    /// Ends the file and returns all records.
    pub fn finish(self) -> Result<Vec<Record>> {
        let (mut file, records) = self.inner.into_inner().map_err(|_| anyhow!("the history is poisoned"))?;
        file.flush()?;
        Ok(records)
    }
}

/// Unix microseconds by this machine's clock.
pub fn now_us() -> i64 {
    i64::try_from(time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}
