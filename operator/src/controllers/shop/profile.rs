//! What a component uses in one shop, whose catalog may keep its products in PostgreSQL or in Cassandra.

use rocketmart_crds::{
    Component, ShopSpec,
    shop::{Cassandra, CatalogStore},
};

/// The key of the component's database, if the component uses PostgreSQL in this shop. A catalog in
/// Cassandra does not.
pub(super) fn database(component: Component, spec: &ShopSpec) -> Option<&'static str> {
    let elsewhere = component == Component::Catalog && spec.catalog.store == CatalogStore::Cassandra;
    component.needs().database.filter(|_| !elsewhere)
}

/// Where Cassandra is, if the component uses it in this shop.
pub(super) fn cassandra(component: Component, spec: &ShopSpec) -> Option<&Cassandra> {
    let uses = component == Component::Catalog && spec.catalog.store == CatalogStore::Cassandra;
    spec.catalog.cassandra.as_ref().filter(|_| uses)
}
