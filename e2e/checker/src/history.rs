//! What shoppers did and were told: one JSON object per line, written by the load generator.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use uuid::Uuid;

/// A request and its answer, as far as the checker needs it.
#[derive(Debug, Clone, Deserialize)]
pub struct Told {
    /// `purchase`, `prepare_payment` or `confirm_payment`.
    pub operation: String,
    pub buyer: Uuid,
    pub key: Option<Uuid>,
    /// `ok`, `refused` or `unknown`.
    pub outcome: String,
    pub order: Option<Uuid>,
    /// Unix microseconds by the client's clock; 0 if the history does not say.
    #[serde(default)]
    pub ended_us: i64,
}

impl Told {
    /// The order of a purchase that was answered 2xx.
    pub fn accepted(&self) -> Option<Uuid> {
        self.order.filter(|_| self.operation == "purchase" && self.outcome == "ok")
    }

    /// The order whose payment was accepted.
    pub fn submitted(&self) -> Option<Uuid> {
        self.order.filter(|_| self.operation == "confirm_payment" && self.outcome == "ok")
    }
}

pub fn read(path: &Path) -> Result<Vec<Told>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    text.lines()
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_str(line).with_context(|| format!("{} line {}", path.display(), number + 1))
        })
        .collect()
}
