//! Rows 7 and 16: one entrance, with every service behind it standing on its own.

use reqwest::Method;
use rocketmart_contracts::component::Component;
use rocketmart_shop::{Shop, unique};
use serde_json::json;

/// The headers of every JSON answer.
const SECURITY_HEADERS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("cache-control", "no-store"),
];

/// A path of each service that requires a token.
const GUARDED: [&str; 5] =
    ["/api/v1/me", "/api/v1/wishlist", "/api/v1/orders", "/api/v1/payment-methods", "/api/v1/addresses"];

#[tokio::test(flavor = "multi_thread")]
async fn row_07_every_service_answers_behind_the_one_entrance() {
    let shop = Shop::open().await;
    for component in Component::ALL {
        for prefix in component.routes() {
            let answer = shop.get(&format!("{prefix}/nothing/of/this/name")).await;
            let code = answer.code();
            assert!(
                answer.status == 404 && code == "route-unknown",
                "{prefix} does not lead to {component}: {} {}",
                answer.status,
                answer.text
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_what_is_inside_cannot_be_reached_from_outside() {
    let shop = Shop::open().await;
    for path in ["/internal/v1/sales/x", "/internal/v1/skus?sku=a", "/metrics", "/livez", "/readyz", "/docs"]
    {
        let answer = shop.get(path).bearer("development-only").await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_every_service_asks_for_a_token_and_trusts_no_header_instead() {
    let shop = Shop::open().await;
    let member = shop.buyer().await;
    for path in GUARDED {
        shop.get(path).await.refused(401, "unauthenticated");
        let pretended = shop
            .get(path)
            .header("x-user", &member.id.to_string())
            .header("x-user-id", &member.id.to_string())
            .header("x-forwarded-user", &member.email);
        let answer = pretended.await;
        answer.refused(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{path}");
        let (head, rest) = member.token.split_once('.').unwrap();
        shop.get(path).bearer(&format!("{head}x.{rest}")).await.refused(401, "unauthenticated");
        shop.get(path).by(&member).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_every_answer_carries_the_security_headers_and_a_request_id() {
    let shop = Shop::open().await;
    let member = shop.buyer().await;
    for path in GUARDED {
        let asked = shop.get(path).by(&member).header("x-request-id", "of-the-test");
        let (allowed, refused) = (asked.await, shop.get(path).await);
        for answer in [&allowed, &refused] {
            for (name, value) in SECURITY_HEADERS {
                assert_eq!(answer.header(name), value, "{name} of {path}");
            }
            assert!(!answer.header("x-request-id").is_empty(), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_a_body_that_is_too_large_is_refused_with_a_reason() {
    let shop = Shop::open().await;
    let seller = shop.seller().await;
    let large = json!({"title": "x".repeat(2 * 1024 * 1024)}).to_string();
    for path in ["/api/v1/products", "/api/v1/addresses", "/api/v1/payment-methods", "/api/v1/members"] {
        let answer = shop.post(path).by(&seller).body("application/json", large.clone()).await;
        answer.refused(413, "body-too-large");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_guessing_a_password_is_slowed_down() {
    let shop = Shop::open().await;
    let email = format!("{}@members.example", unique("guessed"));
    let mut refused = None;
    for _ in 0..12 {
        // Claiming to be forwarded from elsewhere does not help: the services believe only the entrance.
        let from = format!("198.51.100.{}", rand_octet());
        let guess = shop
            .call(Method::POST, "/api/v1/sessions")
            .header("x-forwarded-for", &from)
            .json(&json!({"email": email, "password": "a guess at a pass phrase"}))
            .await;
        if guess.status == 429 {
            refused = Some(guess);
            break;
        }
        guess.refused(401, "invalid-credentials");
    }
    let refused = refused.expect("a limit within twelve guesses");
    refused.refused(429, "too-many-requests");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
}

fn rand_octet() -> u8 {
    uuid::Uuid::new_v4().as_bytes()[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_nobody_can_be_flooded_with_mails() {
    let shop = Shop::open().await;
    let email = format!("{}@members.example", unique("flooded"));
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(shop.post("/api/v1/password-resets").json(&json!({"email": email})).await);
    }
    assert!(answers[..3].iter().all(|answer| answer.status == 202), "three an hour");
    answers[3].refused(429, "too-many-requests");
}
