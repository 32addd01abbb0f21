//! The processes a shop is made of.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

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

    /// Whether it works off a consumer group, and so can be scaled by the group's lag.
    pub const fn has_consumer_group(self) -> bool {
        matches!(self, Self::OrderWorker | Self::PaymentWorker | Self::DeliveryWorker)
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
        write!(f, "`{}` is no component; there are {}", self.0, listed(|_| true))
    }
}

impl std::error::Error for UnknownComponent {}

impl FromStr for Component {
    type Err = UnknownComponent;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|c| c.as_str() == name).ok_or_else(|| UnknownComponent(name.to_owned()))
    }
}

/// CEL: every key of this map is a component.
pub(crate) fn keys_are_components() -> String {
    format!("self.all(name, name in [{}])", listed(|_| true))
}

/// CEL: only components with a consumer group have `autoscaling`.
pub(crate) fn autoscaled_have_a_group() -> String {
    let groups = listed(Component::has_consumer_group);
    format!("self.all(name, !has(self[name].autoscaling) || name in [{groups}])")
}

pub(crate) fn listed(keep: impl Fn(Component) -> bool) -> String {
    let names: Vec<_> = Component::ALL.into_iter().filter(|c| keep(*c)).map(|c| format!("'{c}'")).collect();
    names.join(", ")
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
}
