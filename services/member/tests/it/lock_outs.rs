//! M4, M5: somebody who guesses locks out only themselves (docs/adr/0029).

use reqwest::Method;
use rocketmart_member::api::LimitArgs;
use serde_json::json;

use crate::shop::{Answer, PASSWORD, Shop, answer, token_in};

const NEW: &str = "another fine long phrase";
const GUESS: &str = "a guess at the phrase";

async fn shop(attempts_per_address: u32) -> Shop {
    Shop::open_with(LimitArgs { attempts_per_address, trusted_proxies: 1 }).await
}

/// Somebody at a network address, with the cookies they got.
struct Somebody<'a> {
    shop: &'a Shop,
    from: String,
    cookie: Option<String>,
}

impl<'a> Somebody<'a> {
    fn at(shop: &'a Shop, from: impl Into<String>) -> Self {
        Self { shop, from: from.into(), cookie: None }
    }

    fn with(self, cookie: &str) -> Self {
        Self { cookie: Some(cookie.to_owned()), ..self }
    }

    async fn tries(&self, email: &str, password: &str) -> Answer {
        let mut request = self
            .shop
            .request(Method::POST, "/api/v1/sessions")
            .header("x-forwarded-for", &self.from)
            .json(&json!({"email": email, "password": password}));
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", format!("theme=dark; {cookie}"));
        }
        answer(request).await
    }
}

/// What a browser stores of the cookie in an answer.
fn cookie_in(answer: &Answer) -> String {
    let set = answer.headers["set-cookie"].to_str().unwrap();
    let (cookie, attributes) = set.split_once(';').unwrap();
    for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/api/v1/sessions"] {
        assert!(attributes.contains(attribute), "{set}");
    }
    cookie.to_owned()
}

async fn count(shop: &Shop, scope: &str) -> i32 {
    let counted = sqlx::query_scalar("SELECT coalesce(max(count), 0) FROM attempts WHERE scope = $1");
    counted.bind(scope).fetch_one(&shop.db).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_guesses_from_one_address_lock_out_that_address_alone_m4() {
    let shop = shop(300).await;
    shop.join("ada@example.com").await;
    let stranger = Somebody::at(&shop, "192.0.2.1");
    for _ in 0..10 {
        stranger.tries("ada@example.com", GUESS).await.expect_problem(401, "invalid-credentials");
    }
    let until = "SELECT max(resets_at)::text FROM attempts WHERE scope = 'log-in/both'";
    let (before,): (String,) = sqlx::query_as(until).fetch_one(&shop.db).await.unwrap();
    for _ in 0..90 {
        stranger.tries("ada@example.com", GUESS).await.expect_problem(429, "too-many-requests");
    }
    stranger.tries("ada@example.com", PASSWORD).await.expect_problem(429, "too-many-requests");
    // A refused attempt neither counts nor prolongs the wait.
    let (after,): (String,) = sqlx::query_as(until).fetch_one(&shop.db).await.unwrap();
    assert_eq!(before, after);
    assert_eq!((count(&shop, "log-in/both").await, count(&shop, "log-in/email").await), (10, 10));
    assert_eq!(count(&shop, "log-in/address").await, 1);

    Somebody::at(&shop, "192.0.2.2").tries("ada@example.com", PASSWORD).await.expect(201);
}

/// Guesses an account's password until strangers may not try any more.
async fn locked_for_strangers(shop: &Shop, email: &str) {
    for place in 0..10 {
        let stranger = Somebody::at(shop, format!("198.51.100.{place}"));
        for _ in 0..10 {
            stranger.tries(email, GUESS).await.expect(401);
        }
    }
    let elsewhere = Somebody::at(shop, "192.0.2.9");
    elsewhere.tries(email, PASSWORD).await.expect_problem(429, "too-many-requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_device_gets_in_while_strangers_guess_from_everywhere_m4() {
    let shop = shop(300).await;
    for email in ["ada@example.com", "bob@example.com"] {
        shop.join(email).await;
    }
    let home = Somebody::at(&shop, "192.0.2.1");
    let of_ada = cookie_in(&home.tries("ada@example.com", PASSWORD).await);
    let of_bob = cookie_in(&home.tries("bob@example.com", PASSWORD).await);
    locked_for_strangers(&shop, "ada@example.com").await;

    // From anywhere, even from where somebody guesses.
    let ada = Somebody::at(&shop, "198.51.100.3").with(&of_ada);
    let again = cookie_in(&ada.tries("ada@example.com", PASSWORD).await);
    Somebody::at(&shop, "192.0.2.9").with(&again).tries("ada@example.com", PASSWORD).await.expect(201);
    // A device is known for one member only, and nobody can make up a cookie.
    for cookie in [of_bob.as_str(), "rocketmart-device=made-up"] {
        let stranger = Somebody::at(&shop, "192.0.2.9").with(cookie);
        stranger.tries("ada@example.com", PASSWORD).await.expect(429);
    }
    // A stolen cookie allows no more tries than an address has, and locks out only its device.
    let thief = Somebody::at(&shop, "192.0.2.9").with(&of_bob);
    for _ in 0..10 {
        thief.tries("bob@example.com", GUESS).await.expect(401);
    }
    thief.tries("bob@example.com", PASSWORD).await.expect(429);
    Somebody::at(&shop, "192.0.2.9").tries("bob@example.com", PASSWORD).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_lifts_every_lock_out_of_its_account_m4() {
    let shop = shop(300).await;
    shop.join("ada@example.com").await;
    locked_for_strangers(&shop, "ada@example.com").await;
    shop.post("/api/v1/password-resets", json!({"email": "ada@example.com"})).await.expect(202);
    let token = token_in(&shop.mail.wait_for("ada@example.com", "Set a new password").await);
    let set = shop.post("/api/v1/password-resets/confirm", json!({"token": token, "password": NEW})).await;
    set.expect(204);
    for place in ["192.0.2.9", "198.51.100.3"] {
        Somebody::at(&shop, place).tries("ada@example.com", NEW).await.expect(201);
    }
    // Whoever reset it is known from then on.
    let cookie = cookie_in(&set);
    locked_for_strangers(&shop, "ada@example.com").await;
    Somebody::at(&shop, "192.0.2.9").with(&cookie).tries("ada@example.com", NEW).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_neighbour_does_not_lock_out_an_office_m5() {
    let shop = shop(4).await;
    shop.join("ada@example.com").await;
    shop.join("bob@example.com").await;
    let office = Somebody::at(&shop, "192.0.2.1");
    let cookie = cookie_in(&office.tries("bob@example.com", PASSWORD).await);
    // Somebody who forgot their password counts once, however often they try.
    for _ in 0..3 {
        office.tries("eve@example.com", GUESS).await.expect(401);
    }
    for account in 0..3 {
        office.tries(&format!("m{account}@example.com"), GUESS).await.expect(401);
    }
    assert_eq!(count(&shop, "log-in/address").await, 4);
    // From here on a wrong password is told to wait, and a correct one gets in.
    for account in 3..30 {
        let guess = office.tries(&format!("m{account}@example.com"), GUESS).await;
        guess.expect_problem(429, "too-many-requests");
    }
    office.tries("ada@example.com", PASSWORD).await.expect(201);

    // Ten times the limit: no stranger's password is checked any more, only those of known devices.
    for account in 30..40 {
        office.tries(&format!("m{account}@example.com"), GUESS).await.expect(429);
    }
    assert_eq!(count(&shop, "log-in/address").await, 40);
    office.tries("ada@example.com", PASSWORD).await.expect(429);
    Somebody::at(&shop, "192.0.2.1").with(&cookie).tries("bob@example.com", PASSWORD).await.expect(201);
    Somebody::at(&shop, "192.0.2.2").tries("ada@example.com", PASSWORD).await.expect(201);
}
