//! Kafka: which orders have a `reserved` event, and which payments succeeded or were declined.

use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::Headers as _,
};
use serde_json::Value;
use uuid::Uuid;

use crate::books::Books;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Reads both topics from `since_ms` (0: from the beginning) to their present end. Blocking.
pub fn read(brokers: &str, prefix: &str, sale: Uuid, since_ms: i64, books: &mut Books) -> Result<()> {
    let sale = sale.to_string();
    each(brokers, &format!("{prefix}reservations"), since_ms, |event_type, data| {
        if event_type == "rocketmart.reservation.reserved.v1" && data["sale_id"] == sale.as_str() {
            books.reserved_events.extend(order_of(data));
        }
    })?;
    each(brokers, &format!("{prefix}payments"), since_ms, |event_type, data| {
        let order = order_of(data).filter(|order| books.orders.contains_key(order));
        match event_type {
            "rocketmart.payment.succeeded.v1" => books.succeeded_events.extend(order),
            // A closed payment was not declined: it came too late to be charged.
            "rocketmart.payment.failed.v1" if data["closed"] != true => books.declined_events.extend(order),
            _ => {}
        }
    })
}

fn order_of(data: &Value) -> Option<Uuid> {
    data["order_id"].as_str()?.parse().ok()
}

fn each(brokers: &str, topic: &str, since_ms: i64, mut see: impl FnMut(&str, &Value)) -> Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "rocketmart-checker")
        .set("enable.auto.commit", "false")
        // The last offset may be a transaction's end marker, which is not a message.
        .set("enable.partition.eof", "true")
        // The broker reports the end of a partition only after it has waited for more.
        .set("fetch.wait.max.ms", "10")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).context("asking Kafka for partitions")?;
    let partitions = metadata.topics().first().context("no such topic")?.partitions();
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), TIMEOUT)?;
        let Some(low) = first(&consumer, topic, partition.id(), since_ms, low)?.filter(|low| *low < high)
        else {
            continue;
        };
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(topic, partition.id(), Offset::Offset(low))?;
        consumer.assign(&assignment)?;
        loop {
            let message = match consumer.poll(TIMEOUT).with_context(|| format!("{topic} fell silent"))? {
                Err(KafkaError::PartitionEOF(_)) => break,
                message => message?,
            };
            let event_type = message
                .headers()
                .and_then(|headers| headers.iter().find(|header| header.key == "ce_type")?.value)
                .map(String::from_utf8_lossy)
                .unwrap_or_default();
            if let Some(payload) = message.payload() {
                see(&event_type, &serde_json::from_slice(payload).unwrap_or_default());
            }
            if message.offset() + 1 >= high {
                break;
            }
        }
    }
    Ok(())
}

/// The offset to read a partition from; `None` when nothing in it is new enough.
fn first(
    consumer: &BaseConsumer,
    topic: &str,
    partition: i32,
    since_ms: i64,
    low: i64,
) -> Result<Option<i64>> {
    if since_ms == 0 {
        return Ok(Some(low));
    }
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_offset(topic, partition, Offset::Offset(since_ms))?;
    let found = consumer.offsets_for_times(wanted, TIMEOUT)?;
    Ok(match found.find_partition(topic, partition).map(|place| place.offset()) {
        Some(Offset::Offset(offset)) => Some(offset),
        _ => None,
    })
}
