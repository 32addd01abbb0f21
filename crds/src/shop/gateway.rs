//! Buyers led to a shop by Gateways instead of an Ingress.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Gateways of the Gateway API that lead buyers to the shop, through an `HTTPRoute`.
#[derive(KubeSchema, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// The Gateways that take the route. They, and not the shop, hold the certificate of its host.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(
        validation = Rule::new(EACH_ONCE).message("gateway.parentRefs names one listener, or one Gateway, twice")
    )]
    pub parent_refs: Vec<ParentReference>,
}

/// `namespace` is a word of CEL, so the field has another name there.
const EACH_ONCE: &str = "self.all(a, self.exists_one(b, a.name == b.name \
    && (has(a.__namespace__) ? a.__namespace__ : '') == (has(b.__namespace__) ? b.__namespace__ : '') \
    && (has(a.sectionName) ? a.sectionName : '') == (has(b.sectionName) ? b.sectionName : '')))";

/// A Gateway, or one of its listeners.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentReference {
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Namespace of the Gateway, which has to allow routes from the shop's. When absent, that of the
    /// shop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,

    /// One of the Gateway's listeners. When absent, every listener that fits the shop's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}
