//! What each component needs and serves: docs/contracts.md, "Processes", as a table.

use rocketmart_crds::{Component, ShopSpec, shop::CatalogStore};

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
        Component::Member => Profile {
            routes: &[
                "/.well-known",
                "/api/v1/admin",
                "/api/v1/me",
                "/api/v1/members",
                "/api/v1/password-resets",
                "/api/v1/sessions",
            ],
            database: Some("member"),
            ..nothing
        },
        Component::Catalog => Profile {
            routes: &["/api/v1/likes", "/api/v1/products", "/api/v1/wishlist"],
            database: Some("catalog"),
            kafka: true,
            ..nothing
        },
        Component::Search => Profile { routes: &["/api/v1/search"], kafka: true, ..nothing },
        Component::Order => Profile {
            routes: &["/api/v1/cart", "/api/v1/orders", "/api/v1/sales"],
            database: Some("order"),
            redis: true,
            ..nothing
        },
        Component::OrderRelay | Component::OrderWorker => {
            Profile { database: Some("order"), redis: true, kafka: true, ..nothing }
        }
        Component::Payment => Profile {
            routes: &["/api/v1/payment-methods", "/api/v1/payments"],
            database: Some("payment"),
            payment_provider: true,
            ..nothing
        },
        Component::PaymentWorker => {
            Profile { database: Some("payment"), kafka: true, payment_provider: true, ..nothing }
        }
        Component::Delivery => Profile {
            routes: &["/api/v1/addresses", "/api/v1/shipments"],
            database: Some("delivery"),
            ..nothing
        },
        Component::DeliveryWorker => Profile { database: Some("delivery"), kafka: true, ..nothing },
    }
}

/// The key of the component's database, if it uses PostgreSQL in this shop: a catalog in Cassandra
/// does not.
pub(super) fn database(component: Component, spec: &ShopSpec) -> Option<&'static str> {
    let elsewhere = component == Component::Catalog && spec.catalog.store == CatalogStore::Cassandra;
    of(component).database.filter(|_| !elsewhere)
}
