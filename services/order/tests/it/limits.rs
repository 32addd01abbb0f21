//! Too many purchases, from one member or from one address.

use reqwest::Response;
use rocketmart_order::api::LimitArgs;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shop::{Caller, MUG, Shop, offer};

const UNITS: i64 = 100;
/// More tries than any of these limits allows while a test runs.
const MANY: usize = 2_000;

/// Every kind of limit lifted.
const NONE: LimitArgs = LimitArgs {
    purchases_per_member: 0,
    purchase_burst_per_member: 0,
    purchases_per_address: 0,
    purchase_burst_per_address: 0,
    trusted_proxies: 1,
    unpaid_orders_per_member: 0,
    unpaid_units_per_member: 0,
};

async fn sale(shop: &Shop) -> Uuid {
    let mut terms = offer(UNITS);
    terms["items"][0]["per_buyer_limit"] = json!(UNITS);
    shop.sale(terms).await
}

async fn ask(buyer: &Caller, sale: Uuid, key: &str, forwarded: Option<&str>) -> Response {
    let mut request = buyer
        .http
        .post(format!("{}/api/v1/sales/{sale}/purchases", buyer.api))
        .bearer_auth(&buyer.token)
        .header("idempotency-key", key)
        .json(&json!({ "sku": MUG, "quantity": 1 }));
    if let Some(forwarded) = forwarded {
        request = request.header("x-forwarded-for", forwarded);
    }
    request.send().await.unwrap()
}

/// Asks until it is refused for asking too often, and returns how often it got through before.
async fn until_refused(mut ask: impl AsyncFnMut(usize) -> Response) -> (usize, Response) {
    for n in 0..MANY {
        let answer = ask(n).await;
        if answer.status() == 429 {
            return (n, answer);
        }
        assert_eq!(answer.status(), 201);
    }
    panic!("never refused");
}

/// Checks a refusal, and returns for how many seconds it lasts.
async fn refused(answer: Response) -> u64 {
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let pause = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "too-many-requests", "{problem}");
    pause
}

async fn remaining(shop: &Shop, sale: Uuid) -> i64 {
    let (_, status) = shop.operator().get(&format!("/internal/v1/sales/{sale}")).await;
    status["items"][0]["remaining"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_who_asks_too_often_is_told_when_to_come_back_and_has_taken_nothing() {
    let limits = LimitArgs { purchases_per_member: 1, purchase_burst_per_member: 3, ..NONE };
    let shop = Shop::with_limits(limits).await;
    let sale = sale(&shop).await;
    let (greedy, nervous, other) = (shop.buyer(), shop.buyer(), shop.buyer());

    let (bought, answer) = until_refused(async |n| ask(&greedy, sale, &format!("k{n}"), None).await).await;
    assert!(bought >= 3, "{bought}");
    let pause = refused(answer).await;
    assert_eq!(pause, 1);
    assert_eq!(remaining(&shop, sale).await, UNITS - i64::try_from(bought).unwrap());
    // Nobody else suffers for it. The refused purchase becomes possible in time, under the same key.
    assert_eq!(ask(&other, sale, "k", None).await.status(), 201);
    tokio::time::sleep(std::time::Duration::from_secs(pause)).await;
    assert_eq!(ask(&greedy, sale, &format!("k{bought}"), None).await.status(), 201);

    // A repetition counts as a purchase, and still buys nothing.
    let before = remaining(&shop, sale).await;
    let (repeated, answer) = until_refused(async |_| ask(&nervous, sale, "the-same", None).await).await;
    assert!(repeated >= 3, "{repeated}");
    refused(answer).await;
    assert_eq!(remaining(&shop, sale).await, before - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_out_counts_as_a_purchase() {
    let limits = LimitArgs { purchases_per_member: 1, purchase_burst_per_member: 3, ..NONE };
    let shop = Shop::with_limits(limits).await;
    let buyer = shop.buyer();
    let wish = json!({ "currency": "EUR", "lines": [{ "sku": MUG, "quantity": 1, "unit_price": 1 }] });
    for n in 0..MANY {
        let request =
            buyer.http.post(format!("{}/api/v1/cart/checkout", buyer.api)).bearer_auth(&buyer.token);
        let answer = request.header("idempotency-key", format!("k{n}")).json(&wish).send().await.unwrap();
        if answer.status() == 429 {
            assert!(n >= 3, "{n}");
            assert_eq!(refused(answer).await, 1);
            return;
        }
        assert_eq!(answer.status(), 409, "nothing is in the cart");
    }
    panic!("never refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_a_limit_of_its_own_as_our_proxy_saw_it() {
    let limits = LimitArgs { purchases_per_address: 1, purchase_burst_per_address: 3, ..NONE };
    let shop = Shop::with_limits(limits).await;
    let sale = sale(&shop).await;
    // A new member each time. What a client writes to the left of the proxy's entry changes nothing.
    let crowd = async |n: usize| {
        ask(&shop.buyer(), sale, "k", Some(&format!("10.9.{}.{}, 192.0.2.7", n / 250, n % 250))).await
    };
    let (bought, answer) = until_refused(crowd).await;
    assert!(bought >= 3, "{bought}");
    refused(answer).await;
    assert_eq!(remaining(&shop, sale).await, UNITS - i64::try_from(bought).unwrap());
    assert_eq!(ask(&shop.buyer(), sale, "k", Some("192.0.2.8")).await.status(), 201);
    // Without a proxy we know nothing about the address.
    for _ in 0..10 {
        assert_eq!(ask(&shop.buyer(), sale, "k", None).await.status(), 201);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_no_proxy_vouches_for_is_not_looked_at() {
    let limits =
        LimitArgs { purchases_per_address: 1, purchase_burst_per_address: 1, trusted_proxies: 0, ..NONE };
    let shop = Shop::with_limits(limits).await;
    let sale = sale(&shop).await;
    for _ in 0..10 {
        assert_eq!(ask(&shop.buyer(), sale, "k", Some("192.0.2.7")).await.status(), 201);
    }
}
