//! The shape of events' data as JSON Schema, and which changes of it everybody survives.
//!
//! ```text
//!   the payload of a type of events ──▶ Published ──▶ docs/events/<type>.json   (accepted before)
//!              │                          │ ▲                  │
//!              ├──▶ Read as a whole       │ └── only grown? ───┘
//!              └──▶ Read in part ─────────┘
//!                       all that it needs is promised?
//! ```
//!
//! Producers and receivers are rolled out one after the other, in any order, and topics hold events of
//! the version before. So a type of events may only grow by fields that nobody must have: anything
//! else is a new type, `….v2`. Who reads the payload itself fits by construction; who reads a part of it, as a
//! type of its own, is compared.

mod compatibility;
mod schema;
#[cfg(test)]
mod tests;

use rocketmart_contracts::component::Component;
use rocketmart_contracts::event::Payload;
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
    /// Who writes it.
    pub producer: Component,
    /// JSON Schema of the data, with topic and key beside.
    pub schema: Value,
}

impl Published {
    pub fn of<P: Payload>() -> Self {
        let mut schema = schema_of::<P>();
        schema["title"] = P::TYPE.into();
        schema["x-topic"] = P::TOPIC.into();
        schema["x-key"] = P::KEY.into();
        Self { event_type: P::TYPE, topic: P::TOPIC, key: P::KEY, producer: P::PRODUCER, schema }
    }
}

/// A type of events as a component reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// `ce_type`.
    pub event_type: &'static str,
    pub component: Component,
    /// JSON Schema of the part that it reads; `None` when it reads what was written.
    pub part: Option<Value>,
}

impl Read {
    /// Data is read as what it was written from.
    pub fn of<P: Payload>(component: Component) -> Self {
        Self { event_type: P::TYPE, component, part: None }
    }

    /// Data of a `P` is read as a `T`, which has fewer fields or knows values that are yet to come.
    pub fn part_of<P: Payload, T: ToSchema>(component: Component) -> Self {
        Self { part: Some(schema_of::<T>()), ..Self::of::<P>(component) }
    }
}
