//! `cargo xtask dev`: the services as plain processes on loopback, with Redis, PostgreSQL and Kafka as
//! processes too. Up in seconds, ended with Ctrl-C.

use std::{path::Path, process::Command, thread, time::Duration};

use anyhow::{Context, Result, bail};
use rocketmart_harness::{
    backing::{Kafka, Postgres, Redis},
    process::{self, Process, Server},
    programs::Programs,
    step::step,
};

/// The component, and whether it serves HTTP.
const COMPONENTS: [(&str, bool); 10] = [
    ("member", true),
    ("catalog", true),
    ("search", true),
    ("order", true),
    ("order-relay", false),
    ("order-worker", false),
    ("payment", true),
    ("payment-worker", false),
    ("delivery", true),
    ("delivery-worker", false),
];
const FIRST_PORT: u16 = 8081;
const FIRST_ADMIN_PORT: u16 = 9081;
const MAIL_SMTP_PORT: u16 = 8025;
const MAIL_HTTP_PORT: u16 = 8026;
const PROVIDER_PORT: u16 = 8090;
const START_LIMIT: Duration = Duration::from_secs(60);
const PROVIDER_SECRET: &str = "development only";
const OPERATOR_TOKEN: &str = "development-only";

pub(crate) fn run() -> Result<()> {
    let programs = Programs::build()?;
    let rocketmart = programs.program("rocketmart")?;
    let redis = step("Redis", Redis::start)?;
    let postgres = step("PostgreSQL", Postgres::start)?;
    let kafka = step("Kafka", Kafka::start)?;
    let folder = process::scratch("dev")?;
    let key = folder.join("signing-key.pem");
    make_signing_key(&key)?;
    let mut running = vec![
        start(
            rocketmart,
            &folder,
            "simulate-mail",
            MAIL_HTTP_PORT,
            &[
                ("SMTP_LISTEN", format!("127.0.0.1:{MAIL_SMTP_PORT}")),
                ("MAIL_HTTP_LISTEN", format!("127.0.0.1:{MAIL_HTTP_PORT}")),
            ],
        )?,
        start(
            rocketmart,
            &folder,
            "simulate-provider",
            PROVIDER_PORT,
            &[
                ("PROVIDER_LISTEN", format!("127.0.0.1:{PROVIDER_PORT}")),
                ("PAYMENT_PROVIDER_SECRET", PROVIDER_SECRET.into()),
            ],
        )?,
    ];
    let member_port = FIRST_PORT;
    for ((component, serves), offset) in COMPONENTS.into_iter().zip(0..) {
        let (port, admin_port) = (FIRST_PORT + offset, FIRST_ADMIN_PORT + offset);
        let database = component.split('-').next().unwrap_or(component);
        if serves && database != "search" {
            postgres.execute(&format!("CREATE DATABASE \"{database}\""))?;
        }
        let environment = [
            ("LOG_FORMAT", "text".to_owned()),
            ("LISTEN", format!("127.0.0.1:{port}")),
            ("ADMIN_LISTEN", format!("127.0.0.1:{admin_port}")),
            ("DATABASE_URL", postgres.url(database)),
            ("REDIS_URL", redis.url()),
            ("KAFKA_BROKERS", kafka.brokers()),
            ("AUTH_JWKS_URL", format!("http://127.0.0.1:{member_port}/.well-known/jwks.json")),
            ("OPERATOR_TOKEN", OPERATOR_TOKEN.into()),
            ("PUBLIC_URL", format!("http://127.0.0.1:{member_port}")),
            ("SMTP_URL", format!("smtp://127.0.0.1:{MAIL_SMTP_PORT}")),
            ("SIGNING_KEY_FILE", key.display().to_string()),
            ("ADMIN_EMAIL", "admin@rocketmart.example".into()),
            ("ADMIN_PASSWORD", "development only password".into()),
            ("PAYMENT_PROVIDER_URL", format!("http://127.0.0.1:{PROVIDER_PORT}")),
            ("PAYMENT_PROVIDER_SECRET", PROVIDER_SECRET.into()),
        ];
        let process =
            step(&format!("{component:<16} http 127.0.0.1:{port}, admin 127.0.0.1:{admin_port}"), || {
                start(rocketmart, &folder, component, admin_port, &environment)
            })?;
        running.push(process);
    }
    println!(
        "\nEverything runs; logs are in {}.\nMails: http://127.0.0.1:{MAIL_HTTP_PORT}/mails   API documents: http://127.0.0.1:<port>/docs\nCtrl-C ends it.",
        folder.display()
    );
    wait_for_an_end(&mut running)
}

fn start(
    rocketmart: &Path,
    folder: &Path,
    component: &'static str,
    port: u16,
    environment: &[(&str, String)],
) -> Result<Process> {
    Server {
        name: component,
        program: rocketmart.to_owned(),
        arguments: vec![component.to_owned()],
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        log: folder.join(format!("{component}.log")),
        user: None,
    }
    .start(port, START_LIMIT)
}

/// An Ed25519 key for the tokens of this run.
fn make_signing_key(path: &Path) -> Result<()> {
    let output = Command::new("openssl")
        .args(["genpkey", "-algorithm", "ed25519", "-out"])
        .arg(path)
        .output()
        .context("running openssl")?;
    if !output.status.success() {
        bail!("openssl genpkey: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Ctrl-C ends this process and the kernel ends its children; until then a component that ends by
/// itself is an error.
fn wait_for_an_end(running: &mut [Process]) -> Result<()> {
    loop {
        for process in running.iter_mut() {
            if let Some(status) = process.wait_for(Duration::ZERO)? {
                bail!("process {} ended with {status}; see its log", process.id());
            }
        }
        thread::sleep(Duration::from_secs(1));
    }
}
