//! Events between services: CloudEvents 1.0, independent of how they travel.
//!
//! [`crate::kafka`] writes them in binary mode (attributes as headers, data as value);
//! [`crate::outbox`] keeps them in a table until they are sent.

use std::ops::Deref;

use anyhow::Context;
use bytes::Bytes;
use rocketmart_contracts::event::Payload;
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::trace;

/// A fact that one service tells the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `ce_id`; a receiver handles an id once.
    pub id: String,
    /// `ce_source`, `/rocketmart/<component>`.
    pub source: String,
    /// `ce_type`, e.g. `rocketmart.order.paid.v1`.
    pub event_type: String,
    /// `ce_time`.
    pub time: OffsetDateTime,
    /// Kafka key: events of one key keep their order.
    pub key: String,
    /// W3C trace context of the work that caused the event.
    pub traceparent: Option<String>,
    /// JSON; empty for a tombstone.
    pub data: Bytes,
}

impl Event {
    /// The same as [`new`](Self::new), of the type that its data belongs to.
    pub fn of<P: Payload>(source: &str, key: impl ToString, data: &P) -> Self {
        Self::new(source, P::TYPE, key, data)
    }

    /// An event of now with a fresh id, in the current trace.
    ///
    /// # Panics
    /// When `data` has no JSON form (a map whose keys are not strings).
    pub fn new(source: &str, event_type: &str, key: impl ToString, data: &impl Serialize) -> Self {
        let data = serde_json::to_vec(data)
            .unwrap_or_else(|error| panic!("data of {event_type} has no JSON form: {error}"));
        Self { data: data.into(), ..Self::tombstone(source, event_type, key) }
    }

    /// Marks the end of `key` in a compacted topic.
    pub fn tombstone(source: &str, event_type: &str, key: impl ToString) -> Self {
        Self {
            id: Uuid::now_v7().to_string(),
            source: source.to_owned(),
            event_type: event_type.to_owned(),
            time: OffsetDateTime::now_utc(),
            key: key.to_string(),
            traceparent: trace::current().map(|context| context.to_string()),
            data: Bytes::new(),
        }
    }

    /// Whether this marks the end of its key. JSON is never empty, so empty data says it.
    pub fn is_tombstone(&self) -> bool {
        self.data.is_empty()
    }

    /// Joins the trace of `cause` and derives the id from it. A service that was restored from a backup
    /// handles an event again; what follows from it then has the same id, so receivers that have seen it do
    /// not take it for news.
    pub fn caused_by(mut self, cause: &Event) -> Self {
        let name = self.event_type.rsplit('.').nth(1).unwrap_or_default();
        self.id = format!("{}/{name}", cause.id);
        self.in_trace(cause.traceparent.as_deref())
    }

    /// Joins the trace that led to the event, however long ago. Without one it is in none.
    pub fn in_trace(mut self, parent: Option<&str>) -> Self {
        let parent = parent.and_then(|parent| parent.parse::<trace::TraceContext>().ok());
        self.traceparent = parent.map(|parent| parent.child().to_string());
        self
    }

    /// The data as `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.data)
            .with_context(|| format!("data of event {} is not a {}", self.id, self.event_type))
    }

    /// The data as `T`, for work that goes on in the event's trace or counts from its time.
    pub fn inbound<T: DeserializeOwned>(&self) -> anyhow::Result<Inbound<T>> {
        Ok(Inbound { data: self.parse()?, traceparent: self.traceparent.clone(), time: self.time })
    }
}

/// Data of an event that was received, and what the event says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound<T> {
    pub data: T,
    /// W3C trace context of the work that led to it.
    pub traceparent: Option<String>,
    /// `ce_time`.
    pub time: OffsetDateTime,
}

impl<T> Deref for Inbound<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::TraceContext;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Paid {
        order_id: Uuid,
    }

    #[tokio::test]
    async fn an_event_made_in_a_trace_carries_it() {
        let context = TraceContext::root();
        let event = trace::scope(context, async { Event::new("/rocketmart/order", "t", "k", &1) }).await;
        assert_eq!(event.traceparent, Some(context.to_string()));
        let follow_up = Event::new("/rocketmart/payment", "u", "k", &2).caused_by(&event);
        let follow_up: TraceContext = follow_up.traceparent.unwrap().parse().unwrap();
        assert_eq!(follow_up.trace_id(), context.trace_id());
    }

    #[test]
    fn what_follows_from_an_event_has_the_same_id_whenever_it_is_told() {
        let cause = Event::new("/rocketmart/order-relay", "rocketmart.reservation.reserved.v1", "k", &1);
        let told =
            |event_type: &str| Event::new("/rocketmart/order", event_type, "k", &2).caused_by(&cause).id;
        assert_eq!(told("rocketmart.order.paid.v1"), told("rocketmart.order.paid.v1"));
        assert_eq!(told("rocketmart.order.paid.v1"), format!("{}/paid", cause.id));
        assert_ne!(told("rocketmart.order.paid.v1"), told("rocketmart.order.released.v1"));
    }

    #[test]
    fn data_comes_back_as_it_was_put_in_and_a_misfit_names_the_type() {
        let data = Paid { order_id: Uuid::now_v7() };
        let event = Event::new("/rocketmart/order", "rocketmart.order.paid.v1", data.order_id, &data);
        assert_eq!(event.parse::<Paid>().unwrap(), data);
        let inbound = event.inbound::<Paid>().unwrap();
        assert_eq!((inbound.order_id, inbound.time), (data.order_id, event.time));
        let error = event.parse::<Vec<u8>>().unwrap_err();
        assert!(error.to_string().contains("rocketmart.order.paid.v1"), "{error}");
    }
}
