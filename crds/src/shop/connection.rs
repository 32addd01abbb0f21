//! The outside world of a shop: addresses stand in the spec, everything secret in a Secret.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name;

/// A Secret in the namespace of the shop.
#[derive(KubeSchema, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new(name::is_a_subdomain("self"))
            .message("name is the name of a Secret: small letters, digits, hyphens and dots between them")
    )]
    pub name: String,
}

/// One key of a Secret in the namespace of the shop.
#[derive(KubeSchema, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new(name::is_a_subdomain("self"))
            .message("name is the name of a Secret: small letters, digits, hyphens and dots between them")
    )]
    pub name: String,

    /// Key in the Secret's data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// How to reach Redis.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "(has(self.url) ? 1 : 0) + (has(self.urlSecretRef) ? 1 : 0) + (has(self.sentinel) ? 1 : 0) \
         + (has(self.cluster) ? 1 : 0) == 1"
    )
        .message("give exactly one of redis.url, redis.urlSecretRef, redis.sentinel and redis.cluster"),
    validation = Rule::new(
        "!has(self.caSecretRef) || has(self.urlSecretRef) || (has(self.url) && self.url.startsWith('rediss://')) \
         || (has(self.sentinel) && self.sentinel.tls) || (has(self.cluster) && self.cluster.tls)"
    )
        .message("redis.caSecretRef is for TLS: redis.url begins with rediss://, or tls is true")
        .field_path(".caSecretRef")
)]
pub struct Redis {
    /// Address: `redis://host:6379/0`, or `rediss://` for TLS. An address with a password belongs
    /// into `urlSecretRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^rediss?://\S+$"))]
    pub url: Option<String>,

    /// The address in a Secret. The Redis there is set to `maxmemory-policy noeviction`, `appendonly yes` and
    /// `appendfsync always`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_secret_ref: Option<SecretKeyReference>,

    /// A master with replicas, found by Sentinel. When another server becomes the master, sales that
    /// are under way pause, are rebuilt from PostgreSQL and go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<RedisSentinel>,

    /// Masters that share the sales among themselves. A sale lives on one of them; when another server
    /// takes its place, the sales it has pause, are rebuilt from PostgreSQL and go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<RedisCluster>,

    /// With TLS, the certificates (PEM) of those who may have signed those of Redis and the Sentinels.
    /// When absent, the public authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyReference>,
}

/// A master of Redis with replicas, watched over by Sentinels. All of them write every change to disk
/// before they answer (`appendfsync always`).
#[derive(KubeSchema, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.username) || has(self.passwordSecretRef)")
        .message("redis.sentinel.username needs redis.sentinel.passwordSecretRef")
        .field_path(".username")
)]
pub struct RedisSentinel {
    /// All Sentinels, separated by commas: `sentinel-0:26379,sentinel-1:26379,sentinel-2:26379`.
    #[schemars(length(min = 1, max = 1024), regex(pattern = ADDRESSES))]
    pub addresses: String,

    /// Name under which the Sentinels know the master.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    pub master_name: String,

    /// Speak TLS with Redis and with the Sentinels. Their certificates are for the names or addresses
    /// that the Sentinels tell (`sentinel announce-hostnames yes` for names).
    #[serde(default)]
    pub tls: bool,

    /// Replicas that must have written a change before it is answered; together with the master more than
    /// half of all servers: 1 with two replicas, 2 with four. With fewer of them at hand nothing is sold.
    #[serde(default = "min_replicas")]
    #[schemars(range(min = 1, max = 8))]
    pub min_replicas: i32,

    /// User of the master and its replicas. When absent, the default user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub username: Option<String>,

    /// Password of the master and its replicas. When absent, nobody logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyReference>,

    /// Password of the Sentinels. When absent, nobody logs in there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel_password_secret_ref: Option<SecretKeyReference>,
}

/// A cluster of Redis. All nodes write every change to disk before they answer (`appendfsync always`), and go
/// on while some slots have no master (`cluster-require-full-coverage no`).
#[derive(KubeSchema, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.username) || has(self.passwordSecretRef)")
        .message("redis.cluster.username needs redis.cluster.passwordSecretRef")
        .field_path(".username")
)]
pub struct RedisCluster {
    /// Some nodes to begin with, better all, separated by commas: `redis-0:6379,redis-1:6379,redis-2:6379`.
    /// The masters are learnt from them.
    #[schemars(length(min = 1, max = 1024), regex(pattern = ADDRESSES))]
    pub addresses: String,

    /// Speak TLS with the nodes (`tls-cluster yes`). Their certificates are for the names or addresses that
    /// the nodes tell of each other (`cluster-announce-hostname` and `cluster-preferred-endpoint-type
    /// hostname` for names).
    #[serde(default)]
    pub tls: bool,

    /// Replicas of a master that must have written a change before it is answered; together with the master
    /// more than half of the servers that hold the same: 1 with two replicas each, 2 with four. With fewer of
    /// them at hand nothing is sold of the sales on that master.
    #[serde(default = "min_replicas")]
    #[schemars(range(min = 1, max = 8))]
    pub min_replicas: i32,

    /// User of the nodes. When absent, the default user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub username: Option<String>,

    /// Password of the nodes. When absent, nobody logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyReference>,
}

/// `host:port`, separated by commas.
const ADDRESSES: &str = r"^[^\s,]+:[0-9]+(,[^\s,]+:[0-9]+)*$";

const fn min_replicas() -> i32 {
    1
}

/// PostgreSQL: one database per service.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Postgresql {
    /// Secret with the keys `member`, `catalog`, `order`, `payment` and `delivery`; each value is the
    /// database URL of that service, `postgres://user:password@host:5432/database`.
    pub secret_ref: SecretReference,

    /// Connections each pod keeps open at most.
    #[serde(default = "max_connections")]
    #[schemars(range(min = 1, max = 200))]
    pub max_connections: i32,
}

const fn max_connections() -> i32 {
    8
}

/// Cassandra, for a catalog that is kept there.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cassandra {
    /// Some nodes to begin with, separated by commas: `cassandra-0.cassandra:9042,cassandra-1.cassandra`.
    /// The others are learnt from them.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^[^\s,:]+(:[0-9]+)?(,[^\s,:]+(:[0-9]+)?)*$"))]
    pub contact_points: String,

    /// Datacenter whose nodes are asked and hold the data.
    #[serde(default = "datacenter")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    pub datacenter: String,

    /// Keyspace; the catalog makes it when it is not there. It belongs to the first shop that reaches it.
    #[serde(default = "keyspace")]
    #[schemars(length(min = 1, max = 48), regex(pattern = r"^[a-z][a-z0-9_]*$"))]
    pub keyspace: String,

    /// Copies of each row, when the keyspace is made. A later change is made in Cassandra.
    #[serde(default = "copies")]
    #[schemars(range(min = 1, max = 9))]
    pub replication_factor: i32,

    /// Secret with the keys `user` and `password`. When absent, nobody logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
}

fn datacenter() -> String {
    "datacenter1".to_owned()
}

fn keyspace() -> String {
    "catalog".to_owned()
}

const fn copies() -> i32 {
    3
}

/// How mails are sent.
#[derive(KubeSchema, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.url) != has(self.urlSecretRef)")
        .message("give exactly one of smtp.url and smtp.urlSecretRef")
)]
pub struct Smtp {
    /// Address: `smtp://host:25`, or `smtps://` for TLS. An address with a password belongs into
    /// `urlSecretRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^smtps?://\S+$"))]
    pub url: Option<String>,

    /// The address in a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_secret_ref: Option<SecretKeyReference>,

    /// Sender of the shop's mails.
    #[serde(default = "mail_from")]
    #[schemars(length(min = 3, max = 320))]
    pub from: String,
}

fn mail_from() -> String {
    "Rocket Mart <no-reply@rocketmart.example>".to_owned()
}

/// How payments are charged.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentProvider {
    /// Base address of the provider's API.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^https?://\S+$"))]
    pub url: String,

    /// The secret shared with the provider, which signs its call-backs.
    pub secret_ref: SecretKeyReference,
}
