//! The Kafka of a shop: where it is, how it is spoken to, and the shape of the topics.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::connection::{SecretKeyReference, SecretReference};

/// How to reach Kafka, and the shape of the topics the operator makes.
#[derive(KubeSchema, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.sasl) || self.sasl.mechanism != 'PLAIN' || has(self.tls)")
        .message("kafka.sasl.mechanism PLAIN sends the password as it is, so it needs kafka.tls")
        .field_path(".sasl.mechanism")
)]
pub struct Kafka {
    /// Bootstrap servers, separated by commas: `kafka-0:9092,kafka-1:9092`.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^[^\s,:]+:[0-9]+(,[^\s,:]+:[0-9]+)*$"))]
    pub brokers: String,

    /// TLS to the brokers, whose certificates have to be of the names under which they are reached. When
    /// absent, connections are not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<KafkaTls>,

    /// How the shop and the operator log in to the brokers. When absent, nobody logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<KafkaSasl>,

    /// Copies of each partition. Production uses 3.
    #[serde(default = "replication_factor")]
    #[schemars(range(min = 1, max = 9))]
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("kafka.replicationFactor cannot be changed: topics keep the copies they were made with")
    )]
    pub replication_factor: i32,

    /// Partitions of each event topic, and so the largest number of workers of one kind that have
    /// work at the same time.
    #[serde(default = "partitions")]
    #[schemars(range(min = 1, max = 512))]
    #[x_kube(
        validation = Rule::new("self >= oldSelf")
            .message("kafka.partitions can grow but not shrink: Kafka cannot remove partitions")
    )]
    pub partitions: i32,
}

const fn replication_factor() -> i32 {
    1
}

const fn partitions() -> i32 {
    8
}

/// TLS to the brokers.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KafkaTls {
    /// Certificates (PEM) of the authorities that vouch for the brokers. When absent, those that the
    /// image trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyReference>,
}

/// A log-in to the brokers.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KafkaSasl {
    /// How the password is proved to a broker.
    #[serde(default)]
    pub mechanism: SaslMechanism,

    /// Secret with the keys `user` and `password`.
    pub secret_ref: SecretReference,
}

/// How a password is proved to a broker.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum SaslMechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[default]
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    /// The name Kafka uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}
