//! The shop's topics in Kafka: docs/contracts.md, "Events". Making them here, before any component
//! starts, keeps a broker from making them by itself with its own idea of partitions.

use crate::{controllers::shop::validate::ValidatedShop, kafka::Topic};

/// Events that are worked off and then forgotten.
const EVENTS: [&str; 4] = ["reservations", "orders", "payments", "deliveries"];
/// The last state of each product, kept for ever.
const COMPACTED: &str = "products";

pub(super) fn build(shop: &ValidatedShop) -> Vec<Topic> {
    let kafka = &shop.spec.kafka;
    let topic = |name: &str, compacted| Topic {
        name: format!("{}{name}", shop.topic_prefix()),
        partitions: kafka.partitions,
        replication_factor: kafka.replication_factor,
        compacted,
    };
    EVENTS.iter().map(|name| topic(name, false)).chain([topic(COMPACTED, true)]).collect()
}
