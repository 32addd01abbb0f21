//! Where a shop's Kafka is, and how to talk to its brokers.

use std::fmt;

use clap::{ArgAction, Args, ValueEnum};
use rdkafka::ClientConfig;

use crate::kafka;

/// The Kafka cluster and the prefix this shop's topics and groups carry in it.
#[derive(Args, Clone, Debug)]
pub struct KafkaConfig {
    /// Bootstrap servers, `host:port[,host:port…]`.
    #[arg(long, env = "KAFKA_BROKERS")]
    pub kafka_brokers: String,
    /// Prefix of every topic and group name.
    #[arg(long, env = "KAFKA_TOPIC_PREFIX", default_value = "")]
    pub kafka_topic_prefix: String,
    #[command(flatten)]
    pub kafka_security: KafkaSecurity,
}

/// How connections are encrypted, and as whom the shop logs in.
#[derive(Args, Clone, Default)]
pub struct KafkaSecurity {
    /// Whether the brokers are spoken to over TLS.
    #[arg(long, env = "KAFKA_TLS", action = ArgAction::Set, default_value_t = false)]
    pub kafka_tls: bool,
    /// Certificates (PEM) that vouch for the brokers, instead of those that the system trusts.
    #[arg(long, env = "KAFKA_TLS_CA", hide_env_values = true)]
    pub kafka_tls_ca: Option<String>,
    /// How to log in to the brokers; without it, nobody logs in.
    #[arg(
        long,
        env = "KAFKA_SASL_MECHANISM",
        requires_all = ["kafka_sasl_user", "kafka_sasl_password"]
    )]
    pub kafka_sasl_mechanism: Option<SaslMechanism>,
    #[arg(long, env = "KAFKA_SASL_USER", requires = "kafka_sasl_mechanism")]
    pub kafka_sasl_user: Option<String>,
    #[arg(long, env = "KAFKA_SASL_PASSWORD", requires = "kafka_sasl_mechanism", hide_env_values = true)]
    pub kafka_sasl_password: Option<String>,
}

/// How a password is proved to a broker.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum SaslMechanism {
    /// It is sent as it is.
    #[value(name = "PLAIN")]
    Plain,
    #[value(name = "SCRAM-SHA-256")]
    ScramSha256,
    #[value(name = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl KafkaConfig {
    /// A cluster that anybody may talk to, without TLS.
    pub fn open(brokers: impl Into<String>, topic_prefix: impl Into<String>) -> Self {
        Self {
            kafka_brokers: brokers.into(),
            kafka_topic_prefix: topic_prefix.into(),
            kafka_security: KafkaSecurity::default(),
        }
    }

    /// Full name of a topic.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.kafka_topic_prefix)
    }

    /// Full name of a component's consumer group.
    pub fn group(&self, component: &str) -> String {
        format!("{}{component}", self.kafka_topic_prefix)
    }

    /// A producer; it connects in the background.
    pub fn producer(&self) -> anyhow::Result<kafka::Producer> {
        kafka::Producer::new(self)
    }

    /// What all clients of the cluster have in common. `id` names the client in the brokers' logs.
    pub fn client(&self, id: &str) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.kafka_brokers).set("client.id", id);
        let security = &self.kafka_security;
        if security.kafka_tls
            && let Some(ca) = &security.kafka_tls_ca
        {
            client.set("ssl.ca.pem", ca);
        }
        if let Some(mechanism) = security.kafka_sasl_mechanism {
            client
                .set("sasl.mechanism", mechanism.as_str())
                .set("sasl.username", security.kafka_sasl_user.as_deref().unwrap_or_default())
                .set("sasl.password", security.kafka_sasl_password.as_deref().unwrap_or_default());
        }
        let protocol = match (security.kafka_tls, security.kafka_sasl_mechanism) {
            (false, None) => "plaintext",
            (true, None) => "ssl",
            (false, Some(_)) => "sasl_plaintext",
            (true, Some(_)) => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        client
    }
}

/// The password stays out of logs.
impl fmt::Debug for KafkaSecurity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSecurity")
            .field("kafka_tls", &self.kafka_tls)
            .field("kafka_sasl_mechanism", &self.kafka_sasl_mechanism)
            .field("kafka_sasl_user", &self.kafka_sasl_user)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Component {
        #[command(flatten)]
        kafka: KafkaConfig,
    }

    fn parse(more: &[&str]) -> Result<KafkaConfig, clap::Error> {
        let always = ["test", "--kafka-brokers", "localhost:9092", "--kafka-topic-prefix", "shop-a."];
        Component::try_parse_from(always.iter().chain(more)).map(|component| component.kafka)
    }

    const LOG_IN: [&str; 6] = [
        "--kafka-sasl-mechanism",
        "SCRAM-SHA-512",
        "--kafka-sasl-user",
        "shop",
        "--kafka-sasl-password",
        "open sesame",
    ];

    #[test]
    fn topics_and_groups_carry_the_prefix() {
        let kafka = parse(&[]).unwrap();
        assert_eq!(kafka.topic("orders"), "shop-a.orders");
        assert_eq!(kafka.group("order-worker"), "shop-a.order-worker");
    }

    #[test]
    fn the_protocol_follows_from_tls_and_log_in() {
        let protocol =
            |more: &[&str]| parse(more).unwrap().client("test").get("security.protocol").unwrap().to_owned();
        let tls = ["--kafka-tls", "true"];
        assert_eq!(protocol(&[]), "plaintext");
        assert_eq!(protocol(&tls), "ssl");
        assert_eq!(protocol(&LOG_IN), "sasl_plaintext");
        assert_eq!(protocol(&[&LOG_IN[..], &tls].concat()), "sasl_ssl");
    }

    #[test]
    fn a_log_in_is_given_whole_or_not_at_all() {
        for half in [&LOG_IN[..2], &LOG_IN[..4], &LOG_IN[2..4], &LOG_IN[4..]] {
            assert!(parse(half).is_err(), "{half:?}");
        }
    }

    #[test]
    fn the_password_is_not_shown_by_debug() {
        assert!(!format!("{:?}", parse(&LOG_IN).unwrap()).contains("sesame"));
    }
}
