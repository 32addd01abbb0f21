//! M13: what the security log says about log-ins, refusals and what administrators do, and what it never
//! says.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};

use reqwest::Method;
use rocketmart_kit::security_log::{TARGET, digest};
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

use crate::shop::{PASSWORD, Session, Shop};

const NEW: &str = "another fine long phrase";

/// Everything that the tests of this process logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

static LOG: LazyLock<Lines> = LazyLock::new(|| {
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(EnvFilter::new(format!("{TARGET}=info")))
        .with_writer(move || writer.clone())
        .init();
    lines
});

fn text() -> String {
    String::from_utf8(LOG.0.lock().unwrap().clone()).unwrap()
}

/// Event, outcome and reason of each line about a person.
fn about(email: &str) -> Vec<(String, String, String)> {
    let lines = text();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let theirs = lines.filter(|line| line["email"] == digest(email));
    let word = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    theirs.map(|line| (word(&line, "event"), word(&line, "outcome"), word(&line, "reason"))).collect()
}

fn said(email: &str, event: &str, outcome: &str, reason: &str) -> bool {
    about(email).contains(&(event.to_owned(), outcome.to_owned(), reason.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn log_ins_refusals_passwords_and_sessions_are_written_down_without_secrets() {
    LazyLock::force(&LOG);
    let shop = Shop::open().await;
    let email = "security@example.com";
    let session = shop.join(email).await;
    shop.log_in_with(email, "a wrong pass phrase").await.expect(401);
    assert!(said(email, "log-in", "allowed", ""), "{:?}", about(email));
    assert!(said(email, "log-in", "refused", "invalid-credentials"), "{:?}", about(email));

    let change = async |current: &str| {
        let body = json!({"current_password": current, "new_password": NEW});
        shop.send(Method::PUT, "/api/v1/me/password", Some(&session.access), Some(body)).await
    };
    change("not the right one").await.expect(403);
    change(PASSWORD).await.expect(204);
    assert!(said(email, "password-check", "refused", "password-wrong"), "{:?}", about(email));
    assert!(said(email, "password-change", "allowed", ""), "{:?}", about(email));
    shop.send(Method::DELETE, "/api/v1/sessions", Some(&session.access), None).await.expect(204);
    assert!(said(email, "log-out-everywhere", "allowed", ""), "{:?}", about(email));

    for secret in [email, PASSWORD, NEW, "a wrong pass phrase", &session.access, &session.refresh] {
        assert!(!text().contains(secret), "the log holds {secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_administrators_do_and_who_would_like_to_is_written_down() {
    LazyLock::force(&LOG);
    let shop = Shop::open().await;
    let email = "curious@example.com";
    let (buyer, admin) = (shop.join(email).await, shop.admin().await);
    let import = async |session: &Session| {
        let body = json!({"members": [{"email": "a@x.example", "name": "A"}]});
        shop.send(Method::POST, "/api/v1/admin/members/import", Some(&session.access), Some(body)).await
    };
    import(&buyer).await.expect(403);
    import(&admin).await.expect(200);
    assert!(said(email, "access", "refused", "forbidden"), "{:?}", about(email));
    assert!(said(crate::shop::ADMIN.0, "administration", "allowed", "import-members"));
    let forged = shop.get("/api/v1/me", "a.b.c").await;
    forged.expect(401);
    assert!(text().contains("token-invalid"));
}
