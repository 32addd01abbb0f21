//! How to reach a cluster: what a Shop says about it, with the values of its Secrets.

use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use rdkafka::ClientConfig;
use rocketmart_crds::shop::{Kafka, SaslMechanism};

/// Keys of the Secret of `spec.kafka.sasl`.
pub const USER: &str = "user";
pub const PASSWORD: &str = "password";

/// Two shops with the same access share a connection.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Access {
    brokers: String,
    tls: Option<Tls>,
    log_in: Option<LogIn>,
}

#[derive(Clone, Eq, Hash, PartialEq)]
struct Tls {
    ca: Option<String>,
}

#[derive(Clone, Eq, Hash, PartialEq)]
struct LogIn {
    mechanism: &'static str,
    user: String,
    password: String,
}

impl Access {
    /// Without TLS and without a log-in.
    pub fn open(brokers: &str) -> Self {
        Self { brokers: brokers.to_owned(), tls: None, log_in: None }
    }

    /// The access that a Shop declares; `None` if a value is missing. `secret` looks Secrets up by name.
    pub fn of<'a>(kafka: &Kafka, secret: impl Fn(&str) -> Option<&'a Secret>) -> Option<Self> {
        let value = |name: &str, key: &str| {
            let value = secret(name)?.data.as_ref()?.get(key)?;
            Some(String::from_utf8_lossy(&value.0).into_owned())
        };
        let tls = match &kafka.tls {
            Some(tls) => Some(Tls {
                ca: match &tls.ca_secret_ref {
                    Some(reference) => Some(value(&reference.name, &reference.key)?),
                    None => None,
                },
            }),
            None => None,
        };
        let log_in = match &kafka.sasl {
            Some(sasl) => Some(LogIn {
                mechanism: SaslMechanism::as_str(sasl.mechanism),
                user: value(&sasl.secret_ref.name, USER)?,
                password: value(&sasl.secret_ref.name, PASSWORD)?,
            }),
            None => None,
        };
        Some(Self { brokers: kafka.brokers.clone(), tls, log_in })
    }

    pub(super) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The settings that all clients share.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers).set("client.id", crate::OPERATOR);
        if let Some(ca) = self.tls.as_ref().and_then(|tls| tls.ca.as_ref()) {
            client.set("ssl.ca.pem", ca);
        }
        if let Some(log_in) = &self.log_in {
            client
                .set("sasl.mechanism", log_in.mechanism)
                .set("sasl.username", &log_in.user)
                .set("sasl.password", &log_in.password);
        }
        let protocol = match (&self.tls, &self.log_in) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        client
    }
}

/// Keeps the password out of the logs.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_access_needs_every_value_it_names() {
        let kafka: Kafka = serde_json::from_value(json!({
            "brokers": "kafka:9093",
            "tls": { "caSecretRef": { "name": "ca", "key": "ca.crt" } },
            "sasl": { "secretRef": { "name": "log-in" } },
        }))
        .unwrap();
        let secret = |values: &[(&str, &str)]| Secret {
            data: Some(
                values.iter().map(|(key, value)| ((*key).to_owned(), ByteString((*value).into()))).collect(),
            ),
            ..Secret::default()
        };
        let (ca, log_in) =
            (secret(&[("ca.crt", "PEM")]), secret(&[("user", "shop"), ("password", "sesame")]));
        let half = secret(&[("user", "shop")]);
        let client =
            Access::of(&kafka, |name| Some(if name == "ca" { &ca } else { &log_in })).unwrap().client();
        assert_eq!(client.get("security.protocol"), Some("sasl_ssl"));
        assert_eq!(client.get("ssl.ca.pem"), Some("PEM"));
        assert_eq!(client.get("sasl.mechanism"), Some("SCRAM-SHA-512"));
        assert_eq!(client.get("sasl.password"), Some("sesame"));
        assert_eq!(Access::of(&kafka, |name| (name == "ca").then_some(&ca)), None);
        assert_eq!(Access::of(&kafka, |name| Some(if name == "ca" { &ca } else { &half })), None);
    }
}
