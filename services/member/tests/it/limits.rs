//! What strangers may try: for each endpoint, per e-mail address and per network address.

use reqwest::{Method, StatusCode};
use rocketmart_member::api::LimitArgs;
use serde_json::{Value, json};

use crate::shop::{Answer, PASSWORD, Shop, answer};

/// More tries than any e-mail address allows from one place.
const PER_ADDRESS: u32 = 12;

/// An endpoint, how often an e-mail address may be tried there, and a try.
type Row = (&'static str, u32, fn(&str) -> Value);

const TABLE: [Row; 3] = [
    ("/api/v1/members", 5, |email| json!({"email": email, "password": PASSWORD, "name": "Ada"})),
    ("/api/v1/sessions", 10, |email| json!({"email": email, "password": "a guess at it"})),
    ("/api/v1/password-resets", 3, |email| json!({"email": email})),
];

fn assert_refused(refused: &Answer, path: &str) {
    refused.expect_problem(429, "too-many-requests");
    let pause: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(pause > 0 && pause <= 3_600, "{path}: {pause}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_is_limited_per_e_mail_address_and_per_network_address() {
    let limits = LimitArgs { attempts_per_address: PER_ADDRESS, trusted_proxies: 1 };
    let shop = Shop::open_with(limits).await;
    for (path, per_email, body) in TABLE {
        let attempt = async |email: &str, from: &str| {
            // What a client writes to the left of our proxy's entry changes nothing.
            let forwarded = format!("198.51.100.{}, {from}", email.len());
            answer(shop.request(Method::POST, path).header("x-forwarded-for", forwarded).json(&body(email)))
                .await
        };
        for n in 0..per_email {
            let let_through = attempt("ada@example.com", "192.0.2.1").await;
            assert_ne!(let_through.status, StatusCode::TOO_MANY_REQUESTS, "{path}, attempt {n}");
        }
        assert_refused(&attempt("ada@example.com", "192.0.2.1").await, path);

        for n in 0..PER_ADDRESS {
            let let_through = attempt(&format!("member{n}@example.com"), "192.0.2.2").await;
            assert_ne!(let_through.status, StatusCode::TOO_MANY_REQUESTS, "{path}, member {n}");
        }
        assert_refused(&attempt("late@example.com", "192.0.2.2").await, path);
        let from_elsewhere = attempt("late@example.com", "192.0.2.3").await;
        assert_ne!(from_elsewhere.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
    }
}
