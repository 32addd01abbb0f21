//! What each component needs and serves: docs/contracts.md, "Processes", as a table.

use rocketmart_crds::{
    Component, ShopSpec,
    shop::{Cassandra, CatalogStore},
};
use rocketmart_entrance as entrance;

/// The needs of one component.
#[derive(Clone, Copy, Debug)]
pub(super) struct Profile {
    /// Path prefixes that the entrance routes to it; with any, it serves HTTP and has a Service.
    pub(super) routes: &'static [&'static str],
    /// Key of its database in the Secret of `spec.postgresql`.
    pub(super) database: Option<&'static str>,
    pub(super) redis: bool,
    pub(super) kafka: bool,
    pub(super) payment_provider: bool,
}

impl Profile {
    pub(super) const fn serves_http(&self) -> bool {
        !self.routes.is_empty()
    }
}

pub(super) const fn of(component: Component) -> Profile {
    let nothing =
        Profile { routes: &[], database: None, redis: false, kafka: false, payment_provider: false };
    match component {
        Component::Member => Profile { routes: entrance::MEMBER, database: Some("member"), ..nothing },
        Component::Catalog => {
            Profile { routes: entrance::CATALOG, database: Some("catalog"), kafka: true, ..nothing }
        }
        Component::Search => Profile { routes: entrance::SEARCH, kafka: true, ..nothing },
        Component::Order => {
            Profile { routes: entrance::ORDER, database: Some("order"), redis: true, ..nothing }
        }
        Component::OrderRelay | Component::OrderWorker => {
            Profile { database: Some("order"), redis: true, kafka: true, ..nothing }
        }
        Component::Payment => Profile {
            routes: entrance::PAYMENT,
            database: Some("payment"),
            payment_provider: true,
            ..nothing
        },
        Component::PaymentWorker => {
            Profile { database: Some("payment"), kafka: true, payment_provider: true, ..nothing }
        }
        Component::Delivery => Profile { routes: entrance::DELIVERY, database: Some("delivery"), ..nothing },
        Component::DeliveryWorker => Profile { database: Some("delivery"), kafka: true, ..nothing },
    }
}

/// The key of the component's database, if it uses PostgreSQL in this shop: a catalog in Cassandra
/// does not.
pub(super) fn database(component: Component, spec: &ShopSpec) -> Option<&'static str> {
    let elsewhere = component == Component::Catalog && spec.catalog.store == CatalogStore::Cassandra;
    of(component).database.filter(|_| !elsewhere)
}

/// Where Cassandra is, if the component uses it in this shop.
pub(super) fn cassandra(component: Component, spec: &ShopSpec) -> Option<&Cassandra> {
    let uses = component == Component::Catalog && spec.catalog.store == CatalogStore::Cassandra;
    spec.catalog.cassandra.as_ref().filter(|_| uses)
}
