//! Names and labels of a shop's children.

use std::collections::BTreeMap;

use rocketmart_crds::Component;

use crate::OPERATOR;

/// Label selector of everything the operator manages.
pub const MANAGED: &str =
    "app.kubernetes.io/managed-by=rocketmart-operator,app.kubernetes.io/name=rocketmart";

pub const NAME: &str = "app.kubernetes.io/name";
pub const INSTANCE: &str = "app.kubernetes.io/instance";
pub const COMPONENT: &str = "app.kubernetes.io/component";
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub const VERSION: &str = "app.kubernetes.io/version";

/// Deployment, Service, `ConfigMap` and `PodDisruptionBudget` of a component.
pub fn of_component(shop: &str, component: Component) -> String {
    format!("{shop}-{component}")
}

/// Secret with the key that signs tokens. Only the member service sees it.
pub fn signing_key(shop: &str) -> String {
    format!("{shop}-signing-key")
}

/// Secret with the token of the order service's internal API, under [`OPERATOR_TOKEN`].
pub fn operator_token(shop: &str) -> String {
    format!("{shop}-operator-token")
}

/// Secret with the token that the services use among themselves, under [`INTERNAL_TOKEN`].
pub fn internal_token(shop: &str) -> String {
    format!("{shop}-internal-token")
}

/// Secret with e-mail and password of the shop's first administrator.
pub fn admin(shop: &str) -> String {
    format!("{shop}-admin")
}

/// The Secrets that are made once for each shop.
pub fn generated(shop: &str) -> [String; 4] {
    [signing_key(shop), operator_token(shop), internal_token(shop), admin(shop)]
}

/// Keys in the generated Secrets.
pub const SIGNING_KEY: &str = "signing-key.pem";
pub const OPERATOR_TOKEN: &str = "token";
pub const INTERNAL_TOKEN: &str = "token";
pub const ADMIN_EMAIL: &str = "email";
pub const ADMIN_PASSWORD: &str = "password";

/// Prefix of the shop's topics and consumer groups in Kafka.
pub fn topic_prefix(namespace: &str, shop: &str) -> String {
    format!("{namespace}.{shop}.")
}

/// The shop's id beyond its Kubernetes cluster: its Redis and its databases record this id as their owner.
/// A shop that is deleted and created again has the same id.
pub fn id(namespace: &str, shop: &str) -> String {
    format!("{namespace}/{shop}")
}

/// Label selector of a shop's children.
pub fn children(shop: &str) -> String {
    format!("{MANAGED},{INSTANCE}={shop}")
}

/// Labels of every child of a shop.
pub fn shop_labels(shop: &str) -> BTreeMap<String, String> {
    [(NAME, "rocketmart"), (INSTANCE, shop), (MANAGED_BY, OPERATOR)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Labels of the children of one component.
pub fn component_labels(shop: &str, component: Component) -> BTreeMap<String, String> {
    let mut labels = shop_labels(shop);
    labels.insert(COMPONENT.to_owned(), component.to_string());
    labels
}

/// Selects the pods of a component. A Deployment's selector can never change.
pub fn selector(shop: &str, component: Component) -> BTreeMap<String, String> {
    [(NAME, "rocketmart"), (INSTANCE, shop), (COMPONENT, component.as_str())]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}
