//! The shop's topics in Kafka: docs/contracts.md, "Events". We create them before any component starts;
//! otherwise a broker might create them itself, with its own idea of partitions.

use rocketmart_contracts::topic::{COMPACTED, EVENTS};
use rocketmart_crds::Component;

use crate::{controllers::shop::validated_shop::ValidatedShop, kafka::Topic};

/// How long a message that a component could not handle is kept, in milliseconds: 14 days.
const DEAD_LETTERS_KEPT: i64 = 14 * 24 * 60 * 60 * 1_000;

pub(super) fn build(shop: &ValidatedShop) -> Vec<Topic> {
    let kafka = &shop.spec.kafka;
    let topic = |name: &str, compacted| Topic {
        name: format!("{}{name}", shop.topic_prefix()),
        partitions: kafka.partitions,
        replication_factor: kafka.replication_factor,
        compacted,
        retention_ms: None,
    };
    // One partition: dead letters are few, and people list them in order.
    let dead_letters = |component: Component| Topic {
        partitions: 1,
        retention_ms: Some(DEAD_LETTERS_KEPT),
        ..topic(&format!("{component}.dead-letters"), false)
    };
    let consumers = Component::ALL.into_iter().filter(|component| component.has_consumer_group());
    let events = EVENTS.iter().map(|name| topic(name, false));
    let events = events.chain(COMPACTED.iter().map(|name| topic(name, true)));
    events.chain(consumers.map(dead_letters)).collect()
}
