//! CloudEvents in Kafka's binary content mode: attributes as headers, data as the value.

use anyhow::{Context, ensure};
use bytes::Bytes;
use rdkafka::message::{BorrowedHeaders, Header, Headers, Message, OwnedHeaders};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::event::Event;
use crate::trace::TRACEPARENT;

const SPEC_VERSION: &str = "1.0";

/// The headers that make up an event.
const OF_EVENTS: [&str; 7] =
    ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type", TRACEPARENT];

/// The headers of an event.
pub(super) fn headers(event: &Event) -> anyhow::Result<OwnedHeaders> {
    let time = event.time.format(&Rfc3339).context("ce_time cannot be written")?;
    let mut headers = OwnedHeaders::new_with_capacity(7);
    for (key, value) in [
        ("ce_specversion", SPEC_VERSION),
        ("ce_id", &event.id),
        ("ce_source", &event.source),
        ("ce_type", &event.event_type),
        ("ce_time", &time),
        ("content-type", "application/json"),
    ] {
        headers = headers.insert(Header { key, value: Some(value) });
    }
    Ok(match &event.traceparent {
        Some(traceparent) => headers.insert(Header { key: TRACEPARENT, value: Some(traceparent) }),
        None => headers,
    })
}

/// A message's headers beside those of an event, if there are any.
pub(super) fn foreign_headers(message: &impl Message<Headers = BorrowedHeaders>) -> Option<OwnedHeaders> {
    let mut foreign = message.headers()?.iter().filter(|header| !OF_EVENTS.contains(&header.key)).peekable();
    foreign.peek()?;
    Some(foreign.fold(OwnedHeaders::new(), OwnedHeaders::insert))
}

/// Reads the event from a message. An error names the header that is missing or wrong.
pub(super) fn event(message: &impl Message<Headers = BorrowedHeaders>) -> anyhow::Result<Event> {
    let headers = message.headers().context("the message has no headers")?;
    let optional = |name: &str| {
        let value = headers.iter().find(|header| header.key == name)?.value?;
        std::str::from_utf8(value).ok()
    };
    let required = |name: &str| optional(name).with_context(|| format!("header {name} is missing"));
    ensure!(required("ce_specversion")? == SPEC_VERSION, "header ce_specversion is not {SPEC_VERSION}");
    let key = message.key().context("the message has no key")?;
    Ok(Event {
        id: required("ce_id")?.to_owned(),
        source: required("ce_source")?.to_owned(),
        event_type: required("ce_type")?.to_owned(),
        time: OffsetDateTime::parse(required("ce_time")?, &Rfc3339)
            .context("header ce_time is not an RFC 3339 time")?,
        key: std::str::from_utf8(key).context("the key is not UTF-8")?.to_owned(),
        traceparent: optional(TRACEPARENT).map(str::to_owned),
        data: message.payload().map(Bytes::copy_from_slice).unwrap_or_default(),
    })
}
