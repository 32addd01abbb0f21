//! `Shop`: what a platform team declares to get a running shop.
//!
//! The spec names the outside world (Redis, Kafka, PostgreSQL, mail, the payment provider) and says
//! how each component runs; everything between (Deployments, Services, routes, topics, keys) is the
//! operator's to make. Defaults stand in the schema, so that `kubectl get -o yaml` shows what applies.

mod autoscaling;
mod connection;
mod gateway;
mod kafka;
mod status;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, EnvVar, LocalObjectReference, ResourceRequirements, Toleration};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    autoscaling::{
        Autoscaling, Behavior, Fallback, FallbackBehavior, OffsetReset, PolicyType, ScalingPolicy,
        ScalingRules,
    },
    connection::{
        Cassandra, PaymentProvider, Postgresql, Redis, RedisCluster, RedisSentinel, SecretKeyReference,
        SecretReference, Smtp,
    },
    gateway::{Gateway, ParentReference},
    kafka::{Kafka, KafkaSasl, KafkaTls, SaslMechanism},
    status::{AutoscalingStatus, ComponentStatus, ShopStatus},
};
use crate::component::{self, Component};

/// A shop: its services and workers, their connections, and how buyers reach it.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "rocketmart.dev",
    version = "v1alpha1",
    kind = "Shop",
    namespaced,
    doc = "A shop: its services and workers, their connections, and how buyers reach it.",
    status = "ShopStatus",
    shortname = "shop",
    category = "rocketmart",
    derive = "PartialEq",
    cel,
    validation = Rule::new("size(self.metadata.name) <= 40")
        .message("the name of a shop has at most 40 characters: the names of its parts are built from it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("the name of a shop begins with a letter and has lower case letters, digits and `-` only, not at its \
                  end: its Services are named after it"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Services", type_ = "string", json_path = ".status.services"),
    printcolumn(name = "Host", type_ = "string", json_path = ".spec.host"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message", type_ = "string", priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.gateway) && has(self.ingressClassName))")
        .message("give either gateway or ingressClassName: a shop has one entrance").field_path(".gateway"),
    validation = Rule::new("!(has(self.gateway) && has(self.tls))")
        .message("tls is for an Ingress: with gateway, the Gateway's listener holds the certificate")
        .field_path(".tls")
)]
pub struct ShopSpec {
    /// Image of all components. When absent, the image that the operator itself runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// When the node pulls the image.
    #[serde(default)]
    pub image_pull_policy: ImagePullPolicy,

    /// Secrets in the namespace of the shop with credentials for the image's registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// DNS name under which buyers reach the shop, through an Ingress or, with `gateway`, an `HTTPRoute`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub host: String,

    /// `IngressClass` that serves the shop. When absent, the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub ingress_class_name: Option<String>,

    /// TLS for the host. When absent, the Ingress serves plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<SecretReference>,

    /// Gateways (Gateway API) that lead buyers to the shop. When absent, an Ingress does; a shop that is
    /// moved keeps it until the Gateways have taken the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,

    /// Base of the links in mails, without a slash at the end. When absent, made from the host: with
    /// `https` if `tls` is given, with `http` otherwise, so a shop behind a Gateway that serves TLS gives
    /// it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^https?://[^\s/]+(/[^\s]*[^\s/])?$"))]
    pub public_url: Option<String>,

    /// Redis, where stock is reserved. It must lose nothing that it has accepted: `maxmemory-policy noeviction`,
    /// `appendonly yes`, `appendfsync always`. With other settings nothing is sold, and the condition `Ready` names
    /// the setting. It belongs to the first shop that reaches it.
    pub redis: Redis,

    /// Kafka, which carries events between the components.
    pub kafka: Kafka,

    /// PostgreSQL, where each service keeps what it owns. A database belongs to the first shop that reaches it.
    pub postgresql: Postgresql,

    /// Mail, for the links of sign-up and password reset.
    pub smtp: Smtp,

    /// The payment provider that charges and refunds.
    pub payment_provider: PaymentProvider,

    /// Life times of the tokens of members.
    #[serde(default)]
    pub tokens: Tokens,

    /// The catalog of products.
    #[serde(default)]
    pub catalog: Catalog,

    /// How single components run, by component name: `member`, `catalog`, `search`, `order`,
    /// `order-relay`, `order-worker`, `payment`, `payment-worker`, `delivery`, `delivery-worker`.
    /// A component that is not named runs with one replica.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, ComponentSpec>", extend("maxProperties" = 10))]
    #[x_kube(
        validation = Rule::new(component::keys_are_components())
            .message(format!("a key of spec.components is one of {}", component::listed(|_| true)).as_str()),
        validation = Rule::new(component::autoscaled_have_a_group())
            .message("autoscaling on Kafka lag is for order-worker, payment-worker and delivery-worker; \
                      give other components a number of replicas")
    )]
    pub components: BTreeMap<Component, ComponentSpec>,

    /// Stops every component of the shop (zero replicas) and keeps all data.
    #[serde(default)]
    pub suspend: bool,
}

/// When a node pulls an image.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ImagePullPolicy {
    Always,
    #[default]
    IfNotPresent,
    Never,
}

impl ImagePullPolicy {
    /// The word Kubernetes uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Life times of tokens.
#[derive(KubeSchema, Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.refreshSeconds > self.accessSeconds")
        .message("refreshSeconds has to be larger than accessSeconds").field_path(".refreshSeconds")
)]
pub struct Tokens {
    /// Seconds an access token is good for.
    #[serde(default = "access_seconds")]
    #[schemars(range(min = 30, max = 86_400))]
    pub access_seconds: i64,

    /// Seconds a refresh token is good for when it is not used.
    #[serde(default = "refresh_seconds")]
    #[schemars(range(min = 60, max = 31_536_000))]
    pub refresh_seconds: i64,

    /// Seconds after a log-in at which its session ends, however often it is refreshed.
    #[serde(default = "session_seconds")]
    #[schemars(range(min = 60, max = 315_360_000))]
    pub session_seconds: i64,
}

const fn access_seconds() -> i64 {
    900
}

const fn refresh_seconds() -> i64 {
    1_209_600
}

const fn session_seconds() -> i64 {
    7_776_000
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            access_seconds: access_seconds(),
            refresh_seconds: refresh_seconds(),
            session_seconds: session_seconds(),
        }
    }
}

/// Where products are kept.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.store != 'cassandra' || has(self.cassandra)")
        .message("catalog.cassandra is needed with catalog.store: cassandra, it says where Cassandra is")
        .field_path(".cassandra")
)]
pub struct Catalog {
    /// The store behind the catalog. It cannot be changed later: products do not move by themselves.
    #[serde(default)]
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("catalog.store cannot be changed: the products would stay behind in the old store")
    )]
    pub store: CatalogStore,

    /// How to reach Cassandra, with `store: cassandra`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cassandra: Option<Cassandra>,
}

/// A database of the catalog.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CatalogStore {
    #[default]
    Postgres,
    Cassandra,
}

impl CatalogStore {
    /// The value of `CATALOG_STORE`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Cassandra => "cassandra",
        }
    }
}

/// How one component runs.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.replicas) && has(self.autoscaling))")
        .message("give either replicas or autoscaling: two owners of one number would fight")
        .field_path(".replicas")
)]
pub struct ComponentSpec {
    /// Fixed number of replicas. While a `HorizontalPodAutoscaler` of your own is on the component's Deployment,
    /// neither this nor `autoscaling` is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,

    /// Replicas by the lag of the component's Kafka consumer group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,

    /// CPU and memory of each pod. When absent, a small request and a memory limit of the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Further environment variables. They win over those the operator sets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub env: Vec<EnvVar>,

    /// Labels of the nodes the pods may run on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,

    /// Scheduling preferences of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
}

#[cfg(test)]
mod tests;
