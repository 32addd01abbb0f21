//! What a sale's stream holds: one entry per batch, each with the events of that batch in order.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// One entry of a sale's stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEntry {
    /// Redis' id, `<ms>-<sequence>`.
    pub id: String,
    pub events: Vec<StreamEvent>,
}

/// One event, in the shape of the contract's Events table.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct StreamEvent {
    /// The CloudEvents type.
    #[serde(rename = "t")]
    pub event_type: String,
    /// The Kafka key: the order id.
    #[serde(rename = "k")]
    pub key: String,
    #[serde(rename = "p", default)]
    pub traceparent: Option<String>,
    /// JSON as the function wrote it: who carries it on has no need to look inside.
    #[serde(rename = "d", deserialize_with = "as_written")]
    pub data: String,
}

fn as_written<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    Ok(Box::<str>::from(raw).into_string())
}
