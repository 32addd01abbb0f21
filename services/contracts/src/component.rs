//! The processes a shop is made of, and what each needs: the one table behind the operator's Deployments, the
//! processes of a shop on loopback, consumer groups and routes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{route, topic};

/// One process of a shop, each deployed, scaled and failing by itself.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    Member,
    Catalog,
    Search,
    Order,
    OrderRelay,
    OrderWorker,
    Payment,
    PaymentWorker,
    Delivery,
    DeliveryWorker,
}

/// What a component needs around it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Needs {
    /// The database of its service, by the name of its key in the Secret of `spec.postgresql`.
    pub database: Option<&'static str>,
    pub redis: bool,
    pub kafka: bool,
    pub payment_provider: bool,
}

impl Component {
    /// In the order in which they are listed to people.
    pub const ALL: [Self; 10] = [
        Self::Member,
        Self::Catalog,
        Self::Search,
        Self::Order,
        Self::OrderRelay,
        Self::OrderWorker,
        Self::Payment,
        Self::PaymentWorker,
        Self::Delivery,
        Self::DeliveryWorker,
    ];

    /// The name in `spec.components`, in object names and as the argument of the process.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Catalog => "catalog",
            Self::Search => "search",
            Self::Order => "order",
            Self::OrderRelay => "order-relay",
            Self::OrderWorker => "order-worker",
            Self::Payment => "payment",
            Self::PaymentWorker => "payment-worker",
            Self::Delivery => "delivery",
            Self::DeliveryWorker => "delivery-worker",
        }
    }

    pub const fn needs(self) -> Needs {
        let nothing = Needs { database: None, redis: false, kafka: false, payment_provider: false };
        match self {
            Self::Member => Needs { database: Some("member"), ..nothing },
            Self::Catalog => Needs { database: Some("catalog"), kafka: true, ..nothing },
            Self::Search => Needs { kafka: true, ..nothing },
            Self::Order => Needs { database: Some("order"), redis: true, ..nothing },
            Self::OrderRelay | Self::OrderWorker => {
                Needs { database: Some("order"), redis: true, kafka: true, ..nothing }
            }
            Self::Payment => Needs { database: Some("payment"), payment_provider: true, ..nothing },
            Self::PaymentWorker => {
                Needs { database: Some("payment"), kafka: true, payment_provider: true, ..nothing }
            }
            Self::Delivery => Needs { database: Some("delivery"), ..nothing },
            Self::DeliveryWorker => Needs { database: Some("delivery"), kafka: true, ..nothing },
        }
    }

    /// The path prefixes that lead to it from outside.
    pub const fn routes(self) -> &'static [&'static str] {
        match self {
            Self::Member => route::MEMBER,
            Self::Catalog => route::CATALOG,
            Self::Search => route::SEARCH,
            Self::Order => route::ORDER,
            Self::Payment => route::PAYMENT,
            Self::Delivery => route::DELIVERY,
            Self::OrderRelay | Self::OrderWorker | Self::PaymentWorker | Self::DeliveryWorker => &[],
        }
    }

    /// Whether it serves an HTTP API. The others have probes and metrics only.
    pub const fn serves_http(self) -> bool {
        !self.routes().is_empty()
    }

    /// The topics that its consumer group works off, without the shop's prefix. Who reads a topic whole from
    /// its beginning at each start has no group.
    pub const fn consumes(self) -> &'static [&'static str] {
        match self {
            Self::OrderWorker => &[topic::RESERVATIONS, topic::PAYMENTS, topic::DELIVERIES, topic::PRODUCTS],
            Self::PaymentWorker | Self::DeliveryWorker => &[topic::ORDERS],
            _ => &[],
        }
    }

    /// Whether it works off a consumer group, and so can be scaled by the group's lag.
    pub const fn has_consumer_group(self) -> bool {
        !self.consumes().is_empty()
    }

    /// The components whose consumer groups work off a topic.
    pub fn consumers_of(topic: &str) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |component| component.consumes().contains(&topic))
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No component has this name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownComponent(pub String);

impl fmt::Display for UnknownComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Component::ALL.iter().map(|component| format!("'{component}'")).collect();
        write!(f, "`{}` is no component; there are {}", self.0, names.join(", "))
    }
}

impl std::error::Error for UnknownComponent {}

impl FromStr for Component {
    type Err = UnknownComponent;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|c| c.as_str() == name).ok_or_else(|| UnknownComponent(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_component_reads_back_and_is_its_serialized_form() {
        for component in Component::ALL {
            assert_eq!(component.as_str().parse(), Ok(component));
            assert_eq!(serde_json::to_value(component).unwrap(), component.as_str());
        }
    }

    #[test]
    fn an_unknown_component_is_refused_by_name() {
        let error = "orders".parse::<Component>().unwrap_err().to_string();
        assert!(error.starts_with("`orders` is no component"), "{error}");
    }

    #[test]
    fn who_consumes_has_kafka_and_every_topic_of_events_is_consumed() {
        for component in Component::ALL.into_iter().filter(|component| component.has_consumer_group()) {
            assert!(component.needs().kafka, "{component}");
        }
        for topic in topic::EVENTS {
            assert!(Component::consumers_of(topic).next().is_some(), "{topic}");
        }
        assert_eq!(Component::consumers_of(topic::ORDERS).count(), 2);
    }
}
