//! A second listener like that of production's Kafka: TLS, and clients that log in with a password.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{command, ports};

const KEYTOOL_LIMIT: Duration = Duration::from_mins(1);
const STORE_PASSWORD: &str = "keystore";
const SCRAM: [&str; 2] = ["SCRAM-SHA-256", "SCRAM-SHA-512"];

/// The listener and the certificate it shows.
#[derive(Debug)]
pub struct Secured {
    port: u16,
    keystore: PathBuf,
    certificate: String,
}

impl Secured {
    /// The user who may log in, with `PLAIN` and with both kinds of `SCRAM`.
    pub const USER: &'static str = "shop";
    pub const PASSWORD: &'static str = "open-sesame";

    /// Makes a key and a self-signed certificate.
    pub(super) fn prepare(dir: &Path) -> Result<Self> {
        let (keystore, certificate) = (dir.join("broker.p12"), dir.join("broker.pem"));
        let log = dir.join("keytool.log");
        let keytool = |arguments: &[&str]| {
            let mut command = Command::new("keytool");
            command.args(arguments).args(["-alias", "broker", "-storepass", STORE_PASSWORD, "-keystore"]);
            command.arg(&keystore);
            command
        };
        let pair = ["-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-storetype", "PKCS12"];
        let names = ["-dname", "CN=kafka", "-ext", "san=ip:127.0.0.1,dns:localhost", "-validity", "365"];
        command::run(&mut keytool(&[&pair[..], &names].concat()), &log, KEYTOOL_LIMIT)?;
        let export = ["-exportcert", "-rfc", "-file", &certificate.display().to_string()];
        command::run(&mut keytool(&export), &log, KEYTOOL_LIMIT)?;
        let certificate = fs::read_to_string(&certificate).context("reading the broker's certificate")?;
        Ok(Self { port: ports::free_port()?, keystore, certificate })
    }

    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// PEM; a client that trusts it trusts the broker.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// An item for the broker's `listeners`.
    pub(super) fn listener(&self) -> String {
        format!("SASL_SSL://127.0.0.1:{}", self.port)
    }

    pub(super) fn properties(&self) -> String {
        let log_in = |mechanism: &str, module: &str| {
            let listener = format!("listener.name.sasl_ssl.{}.sasl.jaas.config", mechanism.to_lowercase());
            format!("{listener}=org.apache.kafka.common.security.{module};\n")
        };
        let plain = format!("plain.PlainLoginModule required user_{}=\"{}\"", Self::USER, Self::PASSWORD);
        let scram = SCRAM.map(|mechanism| log_in(mechanism, "scram.ScramLoginModule required")).concat();
        format!(
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL
sasl.enabled.mechanisms=PLAIN,{}
ssl.keystore.type=PKCS12
ssl.keystore.location={}
ssl.keystore.password={STORE_PASSWORD}
{}{scram}",
            SCRAM.join(","),
            self.keystore.display(),
            log_in("PLAIN", &plain),
        )
    }
}

/// Arguments for the tool that prepares a data directory, where the `SCRAM` passwords are kept.
pub(super) fn format_arguments() -> Vec<String> {
    let user = |mechanism| format!("{mechanism}=[name={},password={}]", Secured::USER, Secured::PASSWORD);
    SCRAM.into_iter().flat_map(|mechanism| ["--add-scram".to_owned(), user(mechanism)]).collect()
}
