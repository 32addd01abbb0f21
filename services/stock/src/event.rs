//! What a sale's stream holds: one entry per batch, each with the events of that batch in order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// One entry of a sale's stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEntry {
    /// Redis' id, `<ms>-<sequence>`.
    pub id: String,
    /// How often the sale had been rebuilt in the Redis that the entry was read from.
    pub incarnation: i32,
    pub events: Vec<StreamEvent>,
}

/// Where an entry stands in a stream: its id, `<ms>-<sequence>`, ordered as Redis orders it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamPosition {
    /// Unix milliseconds by Redis' clock, or the previous entry's if the clock went back.
    pub ms: i64,
    pub sequence: i64,
}

/// The text is not the id of a stream entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an entry's id is `<ms>-<sequence>`")]
pub struct NotAPosition;

impl FromStr for StreamPosition {
    type Err = NotAPosition;

    fn from_str(id: &str) -> Result<Self, NotAPosition> {
        let (ms, sequence) = id.split_once('-').ok_or(NotAPosition)?;
        let number = |text: &str| text.parse().map_err(|_| NotAPosition);
        Ok(Self { ms: number(ms)?, sequence: number(sequence)? })
    }
}

impl fmt::Display for StreamPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.sequence)
    }
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
    /// JSON as the function wrote it. Whoever passes it on does not need to look inside.
    #[serde(rename = "d", deserialize_with = "as_written")]
    pub data: String,
}

fn as_written<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    Ok(Box::<str>::from(raw).into_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(id: &str) -> StreamPosition {
        id.parse().unwrap()
    }

    #[test]
    fn positions_are_compared_as_numbers() {
        assert!(position("9-12") < position("10-2"));
        assert!(position("10-2") < position("10-12"));
        assert_eq!(position("10-2").to_string(), "10-2");
        for bad in ["10", "-", "10-x", "$"] {
            assert_eq!(bad.parse::<StreamPosition>(), Err(NotAPosition), "{bad}");
        }
    }
}
