//! The shape of events' data as JSON Schema, and which changes of it everybody survives.
//!
//! ```text
//!   the type an event is written from ──▶ Published ──▶ docs/events/<type>.json   (accepted before)
//!                                             │ ▲                  │
//!   the type a component reads it as ──▶ Read ┘ └─ only grown? ────┘
//!                     all that it needs is promised?
//! ```
//!
//! Producers and receivers are rolled out one after the other, in any order, and topics hold events of
//! the version before. So a type of events may only grow by fields that nobody must have: anything
//! else is a new type, `….v2`.

mod compatibility;
mod schema;
#[cfg(test)]
mod tests;

use serde_json::Value;
use utoipa::ToSchema;

pub use self::compatibility::{incompatibilities, unmet};
use self::schema::schema_of;

/// A type of events as its producer writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// `ce_type`.
    pub event_type: &'static str,
    pub topic: &'static str,
    /// What the key of the message is.
    pub key: &'static str,
    /// The component that writes it.
    pub producer: &'static str,
    /// JSON Schema of the data, with topic and key beside.
    pub schema: Value,
}

impl Published {
    /// Data is written from a `T`.
    pub fn of<T: ToSchema>(
        event_type: &'static str,
        topic: &'static str,
        key: &'static str,
        producer: &'static str,
    ) -> Self {
        let mut schema = schema_of::<T>();
        schema["title"] = event_type.into();
        schema["x-topic"] = topic.into();
        schema["x-key"] = key.into();
        Self { event_type, topic, key, producer, schema }
    }
}

/// A type of events as a component reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// `ce_type`.
    pub event_type: &'static str,
    pub component: &'static str,
    pub schema: Value,
}

impl Read {
    /// Data is read as a `T`.
    pub fn of<T: ToSchema>(event_type: &'static str, component: &'static str) -> Self {
        Self { event_type, component, schema: schema_of::<T>() }
    }
}
