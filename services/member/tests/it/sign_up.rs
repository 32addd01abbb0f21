use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::shop::{PASSWORD, Session, Shop, answer, token_in};

const CONFIRM: &str = "Confirm your e-mail address";

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_up_follows_the_link_logs_in_refreshes_and_logs_out() {
    let shop = Shop::open().await;
    let body = json!({"email": "Ada@Example.com", "password": PASSWORD, "name": "Ada", "roles": ["buyer", "seller"]});
    shop.post("/api/v1/members", body).await.expect(202);

    let mail = shop.mail.wait_for("ada@example.com", CONFIRM).await;
    assert_eq!(mail.from, "no-reply@rocketmart.example");
    let token = token_in(&mail);
    let link = format!("https://shop.example/api/v1/members/verify?token={token}");
    assert!(mail.text.contains(&link) && mail.html.as_ref().unwrap().contains(&link));

    let page = answer(shop.request(Method::GET, &format!("/api/v1/members/verify?token={token}"))).await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert!(page.body.contains("<button>") && page.body.contains(&token), "{}", page.body);
    shop.log_in_with("ada@example.com", PASSWORD).await.expect_problem(401, "invalid-credentials");

    shop.post("/api/v1/members/verify", json!({"token": token})).await.expect(204);
    let session = shop.log_in("ADA@example.com").await;
    let me = shop.get("/api/v1/me", &session.access).await.expect(200);
    assert_eq!((&me["email"], &me["name"]), (&json!("ada@example.com"), &json!("Ada")));
    assert_eq!(me["roles"], json!(["buyer", "seller"]));

    let renewed = Session::from(&shop.refresh(&session.refresh).await.expect(200));
    assert_ne!(renewed.refresh, session.refresh);
    shop.send(Method::DELETE, "/api/v1/sessions/current", Some(&renewed.access), None).await.expect(204);
    shop.refresh(&renewed.refresh).await.expect_problem(401, "refresh-token-invalid");
    shop.get("/api/v1/me", &renewed.access).await.expect_problem(401, "session-ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_makes_one_member_however_often_it_is_pressed_and_not_after_it_expired_m12() {
    let shop = Shop::open().await;
    shop.sign_up("ada@example.com").await.expect(202);
    let token = token_in(&shop.mail.wait_for("ada@example.com", CONFIRM).await);
    let verify = async |token: &str| shop.post("/api/v1/members/verify", json!({"token": token})).await;

    shop.execute("UPDATE sign_up_tokens SET expires_at = now()").await;
    verify(&token).await.expect_problem(410, "link-invalid");
    shop.execute("UPDATE sign_up_tokens SET expires_at = now() + interval '1 hour'").await;
    verify(&token).await.expect(204);
    verify(&token).await.expect(204);
    let (members,): (i64,) = sqlx::query_as("SELECT count(*) FROM members WHERE email = 'ada@example.com'")
        .fetch_one(&shop.db)
        .await
        .unwrap();
    assert_eq!(members, 1);
    // This holds only for a while, and not for a deleted account.
    shop.execute("UPDATE followed_links SET expires_at = now()").await;
    verify(&token).await.expect_problem(410, "link-invalid");
    shop.execute("UPDATE followed_links SET expires_at = now() + interval '1 hour'").await;
    shop.execute("DELETE FROM members WHERE email = 'ada@example.com'").await;
    verify(&token).await.expect_problem(410, "link-invalid");
    verify("made-up").await.expect_problem(410, "link-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_is_stored_only_as_a_hash_and_the_password_as_argon2id() {
    let shop = Shop::open().await;
    shop.sign_up("ada@example.com").await.expect(202);
    let token = token_in(&shop.mail.wait_for("ada@example.com", CONFIRM).await);
    let (hash,): (Vec<u8>,) =
        sqlx::query_as("SELECT hash FROM sign_up_tokens").fetch_one(&shop.db).await.unwrap();
    assert_ne!(hash, token.as_bytes());
    let (password_hash,): (String,) =
        sqlx::query_as("SELECT password_hash FROM sign_ups").fetch_one(&shop.db).await.unwrap();
    assert!(password_hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_behind_the_link_confirms_by_a_form_and_answers_browsers_with_a_page() {
    let shop = Shop::open().await;
    shop.sign_up("ada@example.com").await.expect(202);
    let token = token_in(&shop.mail.wait_for("ada@example.com", CONFIRM).await);
    let press = || {
        shop.request(Method::POST, "/api/v1/members/verify")
            .header("accept", "text/html,*/*;q=0.8")
            .form(&[("token", token.as_str())])
    };
    let done = answer(press()).await;
    assert_eq!(done.status, 200);
    assert!(done.body.contains("Your address is confirmed"), "{}", done.body);
    // M12: pressing twice is fine, and the page behind the link says so too.
    let again = answer(press()).await;
    assert_eq!(again.status, 200);
    assert!(again.body.contains("Your address is confirmed already"), "{}", again.body);
    let page = answer(shop.request(Method::GET, &format!("/api/v1/members/verify?token={token}"))).await;
    assert!(page.body.contains("Your address is confirmed already"), "{}", page.body);
    assert!(!page.body.contains("<button>"), "{}", page.body);
    let made_up = shop.request(Method::POST, "/api/v1/members/verify").header("accept", "text/html");
    let made_up = answer(made_up.form(&[("token", "made-up")])).await;
    assert_eq!(made_up.status, 410);
    assert!(made_up.body.contains("unknown, used or expired"), "{}", made_up.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_presses_at_once_are_both_told_that_it_is_done_m12() {
    let shop = Shop::open().await;
    shop.sign_up("ada@example.com").await.expect(202);
    let token = token_in(&shop.mail.wait_for("ada@example.com", CONFIRM).await);
    let presses = (0..4).map(|_| shop.post("/api/v1/members/verify", json!({"token": token})));
    for press in futures::future::join_all(presses).await {
        press.expect(204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_link_cannot_break_out_of_the_page() {
    let shop = Shop::open().await;
    let page = answer(shop.request(Method::GET, "/api/v1/members/verify?token=%22%3E%3Cscript%3E")).await;
    assert!(!page.body.contains("<script>"), "{}", page.body);
    assert!(page.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
}

#[tokio::test(flavor = "multi_thread")]
async fn known_and_unknown_addresses_are_answered_alike() {
    let shop = Shop::open().await;
    shop.join("ada@example.com").await;
    let known = shop.sign_up("ada@example.com").await;
    let unknown = shop.sign_up("bob@example.com").await;
    assert_eq!((known.status, &known.body), (unknown.status, &unknown.body));
    shop.mail.wait_for("ada@example.com", "You already have an account").await;

    // Three kinds of "no": wrong password, not confirmed, not a member.
    let refusals = [
        shop.log_in_with("ada@example.com", "not the right one").await,
        shop.log_in_with("bob@example.com", PASSWORD).await,
        shop.log_in_with("eve@example.com", PASSWORD).await,
    ];
    for refusal in &refusals {
        refusal.expect_problem(401, "invalid-credentials");
        assert_eq!(refusal.body, refusals[0].body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusing_an_unknown_address_takes_as_long_as_a_wrong_password() {
    let shop = Shop::open().await;
    shop.join("ada@example.com").await;
    let fastest = async |email: &str| {
        let mut fastest = Duration::MAX;
        for _ in 0..5 {
            let begun = Instant::now();
            shop.log_in_with(email, "not the right one").await.expect(401);
            fastest = fastest.min(begun.elapsed());
        }
        fastest
    };
    let (known, unknown) = (fastest("ada@example.com").await, fastest("eve@example.com").await);
    // Without the dummy hash the ratio would be more than ten.
    assert!(unknown * 2 > known && known * 2 > unknown, "known {known:?}, unknown {unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_link_sets_the_password_of_its_own_sign_up() {
    let shop = Shop::open().await;
    let sign_up = async |password: &str| {
        let body = json!({"email": "ada@example.com", "password": password, "name": "Ada"});
        shop.post("/api/v1/members", body).await.expect(202);
    };
    sign_up(PASSWORD).await;
    let mine = token_in(&shop.mail.wait_for("ada@example.com", CONFIRM).await);
    // Somebody else signs up with the address before its owner follows the link.
    sign_up("the password of a stranger").await;
    let strangers = token_in(&shop.mail.wait_for_several("ada@example.com", CONFIRM, 2).await[0]);
    shop.post("/api/v1/members/verify", json!({"token": mine})).await.expect(204);
    let late = shop.post("/api/v1/members/verify", json!({"token": strangers})).await;
    late.expect_problem(410, "link-invalid");
    shop.log_in("ada@example.com").await;
    shop.log_in_with("ada@example.com", "the password of a stranger").await.expect(401);
    let (left,): (i64,) = sqlx::query_as("SELECT count(*) FROM sign_ups").fetch_one(&shop.db).await.unwrap();
    assert_eq!(left, 0, "the stranger's sign-up ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobodys_mailbox_is_flooded_by_sign_ups() {
    let shop = Shop::open().await;
    for _ in 0..5 {
        shop.sign_up("ada@example.com").await.expect(202);
    }
    let refused = shop.sign_up("ada@example.com").await;
    refused.expect_problem(429, "too-many-requests");
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    shop.sign_up("bob@example.com").await.expect(202);
}
