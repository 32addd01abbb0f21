//! M1: what other services learn about sessions that ended before their tokens did.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::Method;
use rocketmart_kit::auth::{AuthError, RevocationPage, Verifier};
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::shop::{PASSWORD, Session, Shop, auth, token_in};

const NEW: &str = "another fine long phrase";

/// Another service: it knows only what it is told over HTTP.
struct Elsewhere {
    verifier: Verifier,
    _stop: DropGuard,
}

impl Elsewhere {
    fn open(shop: &Shop) -> Self {
        let mut config = auth();
        config.auth_jwks_url = Some(format!("{}/.well-known/jwks.json", shop.api).parse().unwrap());
        config.auth_revocations_url = Some(format!("{}/internal/v1/revocations", shop.api).parse().unwrap());
        let verifier = Verifier::from_jwks_url(&config).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(verifier.clone().refresh_loop(stop.clone()));
        Self { verifier, _stop: stop.drop_guard() }
    }

    async fn accepts(&self, session: &Session) {
        self.verifier.verify(&session.access).await.unwrap();
    }

    async fn refuses_soon(&self, session: &Session) {
        let refused = async {
            while self.verifier.verify(&session.access).await.err() != Some(AuthError::SessionEnded) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), refused).await.expect("refused within seconds");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_in_whatever_way_is_refused_elsewhere_within_seconds() {
    let shop = Shop::open().await;
    let elsewhere = Elsewhere::open(&shop);
    let here = shop.join("ada@example.com").await;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(shop.log_in("ada@example.com").await);
    }
    for session in sessions.iter().chain([&here]) {
        elsewhere.accepts(session).await;
    }

    // Logged out.
    shop.send(Method::DELETE, "/api/v1/sessions/current", Some(&sessions[0].access), None).await.expect(204);
    elsewhere.refuses_soon(&sessions[0]).await;

    // An old refresh token came back.
    let renewed = Session::from(&shop.refresh(&sessions[1].refresh).await.expect(200));
    shop.execute("UPDATE refresh_tokens SET replaced_at = replaced_at - interval '1 minute'").await;
    shop.refresh(&sessions[1].refresh).await.expect(401);
    elsewhere.refuses_soon(&renewed).await;
    elsewhere.refuses_soon(&sessions[1]).await;

    // A new password ends all sessions but this one.
    let body = json!({"current_password": PASSWORD, "new_password": NEW});
    shop.send(Method::PUT, "/api/v1/me/password", Some(&here.access), Some(body)).await.expect(204);
    elsewhere.refuses_soon(&sessions[2]).await;
    elsewhere.accepts(&here).await;

    // A forgotten password.
    shop.post("/api/v1/password-resets", json!({"email": "ada@example.com"})).await.expect(202);
    let token = token_in(&shop.mail.wait_for("ada@example.com", "Set a new password").await);
    let body = json!({"token": token, "password": PASSWORD});
    shop.post("/api/v1/password-resets/confirm", body).await.expect(204);
    elsewhere.refuses_soon(&here).await;

    // Logged out everywhere; an ended session cannot do that.
    let [one, another] = [shop.log_in("ada@example.com").await, shop.log_in("ada@example.com").await];
    let everywhere = async |session: &Session| {
        shop.send(Method::DELETE, "/api/v1/sessions", Some(&session.access), None).await
    };
    everywhere(&here).await.expect_problem(401, "session-ended");
    everywhere(&one).await.expect(204);
    elsewhere.refuses_soon(&one).await;
    elsewhere.refuses_soon(&another).await;

    // A deleted account.
    let last = shop.log_in("ada@example.com").await;
    elsewhere.accepts(&last).await;
    let body = json!({"password": PASSWORD});
    shop.send(Method::DELETE, "/api/v1/me", Some(&last.access), Some(body)).await.expect(204);
    elsewhere.refuses_soon(&last).await;
}

/// A page of the list, as another service asks for it.
async fn page(shop: &Shop, after: Option<&str>) -> RevocationPage {
    let query = after.map(|cursor| format!("?after={cursor}")).unwrap_or_default();
    let answer = shop.send(Method::GET, &format!("/internal/v1/revocations{query}"), None, None).await;
    serde_json::from_value(answer.expect(200)).unwrap()
}

fn told(page: &RevocationPage) -> HashSet<Uuid> {
    page.revoked.iter().map(|session| session.sid).collect()
}

async fn open_session(shop: &Shop) -> Uuid {
    let opened = "INSERT INTO sessions (id, member_id, expires_at, tokens_until)
                  SELECT gen_random_uuid(), id, now() + interval '1 hour', now() + interval '1 hour' FROM members
                  LIMIT 1 RETURNING id";
    sqlx::query_scalar(opened).fetch_one(&shop.db).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_misses_no_session_in_whatever_order_transactions_end() {
    let shop = Shop::open().await;
    let (slow, quick) = (open_session(&shop).await, open_session(&shop).await);
    let end = "DELETE FROM sessions WHERE id = $1";
    let mut transaction = shop.db.begin().await.unwrap();
    sqlx::query(end).bind(slow).execute(&mut *transaction).await.unwrap();
    sqlx::query(end).bind(quick).execute(&shop.db).await.unwrap();
    let first = page(&shop, None).await;
    assert_eq!(told(&first), HashSet::from([quick]));
    transaction.commit().await.unwrap();
    let second = page(&shop, Some(&first.cursor)).await;
    assert!(told(&second).contains(&slow), "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_comes_in_pages_and_without_what_no_token_is_left_of() {
    let shop = Shop::open().await;
    shop.execute(
        "INSERT INTO revocations (session_id, tokens_until)
         SELECT gen_random_uuid(), now() + interval '1 hour' FROM generate_series(1, 10001)",
    )
    .await;
    shop.execute("INSERT INTO revocations (session_id, tokens_until) VALUES (gen_random_uuid(), now())")
        .await;
    let first = page(&shop, None).await;
    assert!(first.has_more && first.revoked.len() == 10_000);
    let second = page(&shop, Some(&first.cursor)).await;
    assert!(!second.has_more);
    let all: HashSet<_> = told(&first).union(&told(&second)).copied().collect();
    assert_eq!(all.len(), 10_001);
    let later = open_session(&shop).await;
    sqlx::query("DELETE FROM sessions WHERE id = $1").bind(later).execute(&shop.db).await.unwrap();
    assert!(told(&page(&shop, Some(&second.cursor)).await).contains(&later));
    // A session whose tokens all expired before it ended does not concern anybody.
    let idle = open_session(&shop).await;
    sqlx::query("UPDATE sessions SET tokens_until = now() WHERE id = $1")
        .bind(idle)
        .execute(&shop.db)
        .await
        .unwrap();
    sqlx::query("DELETE FROM sessions WHERE id = $1").bind(idle).execute(&shop.db).await.unwrap();
    assert!(!told(&page(&shop, None).await).contains(&idle));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_a_database_that_came_back_from_a_backup_begins_anew() {
    let shop = Shop::open().await;
    let ended = open_session(&shop).await;
    sqlx::query("DELETE FROM sessions WHERE id = $1").bind(ended).execute(&shop.db).await.unwrap();
    let beyond = i64::MAX.to_string();
    assert_eq!(told(&page(&shop, Some(&beyond)).await), HashSet::from([ended]));
    let made_up = shop.send(Method::GET, "/internal/v1/revocations?after=x", None, None).await;
    made_up.expect_problem(400, "cursor-invalid");
}
