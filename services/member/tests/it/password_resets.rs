use reqwest::Method;
use rocketmart_member::api::LimitArgs;
use serde_json::json;

use crate::shop::{Answer, PASSWORD, Shop, answer, token_in};

const RESET: &str = "Set a new password";
const NEW: &str = "another fine long phrase";

async fn ask(shop: &Shop, email: &str) -> Answer {
    shop.post("/api/v1/password-resets", json!({"email": email})).await
}

async fn confirm(shop: &Shop, token: &str, password: &str) -> Answer {
    shop.post("/api/v1/password-resets/confirm", json!({"token": token, "password": password})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailed_link_sets_a_new_password_once_and_ends_every_session() {
    let shop = Shop::open().await;
    let session = shop.join("ada@example.com").await;
    ask(&shop, "ada@example.com").await.expect(202);
    let mail = shop.mail.wait_for("ada@example.com", RESET).await;
    let token = token_in(&mail);
    assert!(mail.text.contains("https://shop.example/api/v1/password-resets/confirm?token="));

    let page =
        answer(shop.request(Method::GET, &format!("/api/v1/password-resets/confirm?token={token}"))).await;
    assert!(page.body.contains("type=\"password\""), "{}", page.body);

    // A password that is refused does not use the link up.
    let weak = confirm(&shop, &token, "password123").await.expect_problem(422, "validation-failed");
    assert_eq!(weak["errors"][0]["field"], "password");
    confirm(&shop, &token, NEW).await.expect(204);
    confirm(&shop, &token, NEW).await.expect_problem(410, "link-invalid");

    shop.refresh(&session.refresh).await.expect_problem(401, "refresh-token-invalid");
    shop.log_in_with("ada@example.com", PASSWORD).await.expect(401);
    shop.log_in_with("ada@example.com", NEW).await.expect(201);
    shop.mail.wait_for("ada@example.com", "Your password was changed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn using_one_link_ends_the_others_and_an_old_link_does_not_work() {
    let shop = Shop::open().await;
    shop.join("ada@example.com").await;
    ask(&shop, "ada@example.com").await.expect(202);
    let first = token_in(&shop.mail.wait_for("ada@example.com", RESET).await);
    ask(&shop, "ada@example.com").await.expect(202);
    let second = loop {
        let newest = token_in(&shop.mail.wait_for("ada@example.com", RESET).await);
        if newest != first {
            break newest;
        }
    };
    shop.execute("UPDATE password_reset_tokens SET expires_at = now()").await;
    confirm(&shop, &first, NEW).await.expect_problem(410, "link-invalid");
    shop.execute("UPDATE password_reset_tokens SET expires_at = now() + interval '1 hour'").await;
    confirm(&shop, &second, NEW).await.expect(204);
    confirm(&shop, &first, NEW).await.expect_problem(410, "link-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_addresses_get_the_same_answer_and_no_mail() {
    let shop = Shop::open().await;
    shop.join("ada@example.com").await;
    let known = ask(&shop, "ada@example.com").await;
    let unknown = ask(&shop, "eve@example.com").await;
    assert_eq!((known.status, &known.body), (unknown.status, &unknown.body));
    shop.mail.wait_for("ada@example.com", RESET).await;
    assert!(shop.mail.all("eve@example.com").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_limited_per_e_mail_address_known_or_not() {
    let shop = Shop::open().await;
    shop.join("ada@example.com").await;
    for email in ["ada@example.com", "eve@example.com"] {
        for _ in 0..3 {
            ask(&shop, email).await.expect(202);
        }
        let refused = ask(&shop, email).await;
        refused.expect_problem(429, "too-many-requests");
        assert!(refused.headers.contains_key("retry-after"));
    }
    // The limit is in the database: another replica knows it.
    let (other, _stop) = shop.another_replica().await;
    let url = format!("{other}/api/v1/password-resets");
    let body = json!({"email": "ada@example.com"});
    answer(reqwest::Client::new().post(url).json(&body)).await.expect_problem(429, "too-many-requests");

    shop.execute("UPDATE attempts SET resets_at = now()").await;
    ask(&shop, "ada@example.com").await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_limited_per_network_address_as_our_proxy_saw_it() {
    let shop = Shop::open_with(LimitArgs { attempts_per_address: 4, trusted_proxies: 1 }).await;
    let from = async |forwarded: &str, email: &str| {
        let request =
            shop.request(Method::POST, "/api/v1/password-resets").header("x-forwarded-for", forwarded);
        answer(request.json(&json!({"email": email}))).await
    };
    for n in 0..4 {
        // What the client writes to the left changes nothing.
        from(&format!("10.9.9.{n}, 192.0.2.7"), &format!("m{n}@example.com")).await.expect(202);
    }
    from("10.9.9.9, 192.0.2.7", "m5@example.com").await.expect_problem(429, "too-many-requests");
    from("192.0.2.8", "m6@example.com").await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_a_password_is_limited_and_a_right_one_does_not_count() {
    let shop = Shop::open().await;
    shop.join("ada@example.com").await;
    for _ in 0..12 {
        shop.log_in("ada@example.com").await;
    }
    for _ in 0..10 {
        shop.log_in_with("ada@example.com", "a wrong guess").await.expect(401);
    }
    shop.log_in_with("ada@example.com", PASSWORD).await.expect_problem(429, "too-many-requests");
}
