//! Starts each component as a process while nothing that it needs is there (O2). It is alive and can be
//! stopped from the first moment, names what is missing, and becomes ready once that comes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::get;
use rocketmart_harness::backing::Postgres;
use rocketmart_harness::ports;
use serde_json::Value;

/// Enough for a machine that does other things too.
const PATIENCE: Duration = Duration::from_mins(1);
/// Nobody listens at this address.
const NOBODY: &str = "127.0.0.1:1";
/// The example key of RFC 8410.
const SIGNING_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----\n";

struct Process {
    child: Child,
    admin: String,
}

impl Process {
    fn start(component: &str, signing_key: &Path, also: &[(&str, &str)]) -> Self {
        let admin = format!("127.0.0.1:{}", ports::free_port().unwrap());
        let database = format!("postgres://nobody@{NOBODY}/nothing");
        let jwks = format!("http://{NOBODY}/jwks.json");
        let [redis, smtp, provider] = ["redis", "smtp", "http"].map(|scheme| format!("{scheme}://{NOBODY}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_rocketmart"));
        command.arg(component).stdout(Stdio::null()).stderr(Stdio::null()).envs([
            ("LISTEN", "127.0.0.1:0"),
            ("ADMIN_LISTEN", &admin),
            ("DATABASE_URL", &database),
            ("REDIS_URL", &redis),
            ("KAFKA_BROKERS", NOBODY),
            ("CASSANDRA_CONTACT_POINTS", NOBODY),
            ("AUTH_JWKS_URL", &jwks),
            ("SMTP_URL", &smtp),
            ("PUBLIC_URL", "http://shop.example"),
            ("PAYMENT_PROVIDER_URL", &provider),
            ("PAYMENT_PROVIDER_SECRET", "a-secret-of-this-test"),
            ("OPERATOR_TOKEN", "the-operator-of-this-test"),
        ]);
        command.env("SIGNING_KEY_FILE", signing_key).envs(also.iter().copied());
        Self { child: command.spawn().unwrap(), admin: format!("http://{admin}") }
    }

    async fn is_alive(&self) -> bool {
        get(format!("{}/livez", self.admin)).await.is_ok_and(|answer| answer.status() == 200)
    }

    /// The answer of `/readyz`.
    async fn readyz(&self) -> Option<(u16, Value)> {
        let answer = get(format!("{}/readyz", self.admin)).await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.ok()?))
    }

    async fn is_ready(&self) -> bool {
        self.readyz().await.is_some_and(|(status, _)| status == 200)
    }

    /// Names and reasons of what is missing; empty if the process does not answer or is ready.
    async fn missing(&self) -> String {
        let said = self.readyz().await.filter(|(status, _)| *status == 503);
        said.map(|(_, report)| report["missing"].to_string()).unwrap_or_default()
    }

    /// Sends SIGTERM; returns the exit status.
    async fn stop(mut self) -> Option<i32> {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
        let limit = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < limit, "SIGTERM is not heard");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < limit, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn signing_key(folder: &Path) -> PathBuf {
    let file = folder.join("key.pem");
    std::fs::write(&file, SIGNING_KEY).unwrap();
    file
}

/// O2
#[tokio::test]
async fn a_component_that_is_started_while_everything_is_away_is_alive_names_it_and_hears_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let key = signing_key(folder.path());
    for (component, also, missing) in [
        ("member", vec![], "postgresql"),
        ("catalog", vec![], "postgresql"),
        ("catalog", vec![("CATALOG_STORE", "cassandra")], "cassandra"),
        ("search", vec![], "index"),
        ("order", vec![], "postgresql"),
        ("order-relay", vec![], "postgresql"),
        ("order-worker", vec![], "postgresql"),
        ("payment", vec![], "postgresql"),
        ("payment-worker", vec![], "postgresql"),
        ("delivery", vec![], "postgresql"),
        ("delivery-worker", vec![], "postgresql"),
    ] {
        let process = Process::start(component, &key, &also);
        eventually("it is alive", async || process.is_alive().await).await;
        let named = format!("\"{missing}\"");
        eventually("what is missing is named", async || process.missing().await.contains(&named)).await;
        assert_eq!(process.stop().await, Some(0), "{component}");
    }
}

/// O2
#[tokio::test]
async fn a_component_that_waited_for_its_database_goes_on_when_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let (key, port) = (signing_key(folder.path()), ports::free_port().unwrap());
    let url = |name: &str| format!("postgres://postgres@127.0.0.1:{port}/{name}");
    let member = Process::start("member", &key, &[("DATABASE_URL", &url("member"))]);
    let worker = Process::start("order-worker", &key, &[("DATABASE_URL", &url("order"))]);
    for process in [&member, &worker] {
        eventually("it waits", async || process.missing().await.contains("postgresql")).await;
    }
    let postgres = Postgres::start_on(port).unwrap();
    for name in ["member", "order"] {
        postgres.create_database(name).unwrap();
    }
    eventually("member is ready", async || member.is_ready().await).await;
    let (_, report) = member.readyz().await.unwrap();
    assert_eq!(report["degraded"][0]["name"], "smtp", "{report}");
    eventually("order-worker has what it waited for", async || {
        let missing = worker.missing().await;
        missing.contains("\"redis\"") && !missing.contains("postgresql")
    })
    .await;
    for process in [member, worker] {
        assert_eq!(process.stop().await, Some(0));
    }
}

/// O3
#[tokio::test]
async fn keys_that_were_away_are_fetched_within_a_second_or_two_and_kept_when_they_are_away_again() {
    let folder = tempfile::tempdir().unwrap();
    let key = signing_key(folder.path());
    let postgres = Postgres::start().unwrap();
    let [member_db, delivery_db] = ["member", "delivery"].map(|name| {
        postgres.create_database(name).unwrap();
        postgres.url(name)
    });
    let api = format!("127.0.0.1:{}", ports::free_port().unwrap());
    let jwks = format!("http://{api}/.well-known/jwks.json");
    let delivery =
        Process::start("delivery", &key, &[("DATABASE_URL", &delivery_db), ("AUTH_JWKS_URL", &jwks)]);
    eventually("only the keys are missing", async || {
        let missing = delivery.missing().await;
        missing.contains("signing-keys") && !missing.contains("postgresql")
    })
    .await;
    // Long enough that pauses which grow with each failure have grown.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let member = Process::start("member", &key, &[("DATABASE_URL", &member_db), ("LISTEN", &api)]);
    let are_published = async || get(&jwks).await.is_ok_and(|answer| answer.status() == 200);
    eventually("the keys are published", are_published).await;
    let published = Instant::now();
    eventually("delivery is ready", async || delivery.is_ready().await).await;
    let waited = published.elapsed();
    assert!(waited < Duration::from_secs(6), "ready after {waited:?}");
    assert_eq!(member.stop().await, Some(0));
    for _ in 0..10 {
        assert!(delivery.is_ready().await, "it goes on with the keys it has");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
