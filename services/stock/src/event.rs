//! What a sale's stream holds: one entry per batch, each with the events of that batch in order.

use serde::Deserialize;

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
    #[serde(rename = "d")]
    pub data: serde_json::Value,
}
