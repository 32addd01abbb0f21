//! Payments over HTTP, who may see them, and what the service says about itself.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shop::{Order, Process, Shop};
use crate::tokens;

/// A member calling the API.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Client {
    pub(crate) fn new(shop: &Shop, api: &Process, member: Uuid) -> Self {
        Self { http: shop.http.clone(), base: api.url.clone(), token: tokens::buyer(member) }
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.post_with_key(path, &Uuid::now_v7().to_string(), body).await
    }

    pub(crate) async fn post_with_key(&self, path: &str, key: &str, body: &Value) -> (StatusCode, Value) {
        self.call(Method::POST, path, Some((key, body))).await
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some((key, body)) = body {
            request = request.header("idempotency-key", key).json(body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, answer.json().await.unwrap_or_default())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_sees_payments_with_their_refunds_newest_first() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let _worker = shop.worker().await;
    let buyer = shop.buyer_paying_with("tok_1").await;
    let (older, newer) = (Order::of(buyer), Order::of(buyer));
    shop.send(&[older.payment_requested()]).await;
    let payment = shop.told("succeeded", older.id).await;
    shop.send(&[newer.payment_requested(), older.refund_requested(&payment, 900)]).await;
    shop.told("refunded", older.id).await;
    shop.told("succeeded", newer.id).await;

    let me = Client::new(&shop, &api, buyer);
    let (status, list) = me.get("/api/v1/payments").await;
    assert_eq!(status, StatusCode::OK);
    let orders: Vec<&Value> = list["data"].as_array().unwrap().iter().map(|p| &p["order_id"]).collect();
    assert_eq!(orders, [&json!(newer.id), &json!(older.id)]);

    let (_, one) = me.get(&format!("/api/v1/payments/{}", payment["payment_id"].as_str().unwrap())).await;
    assert_eq!((&one["state"], &one["amount"]), (&json!("succeeded"), &json!(12_900)));
    assert_eq!(
        (&one["refunds"][0]["amount"], &one["refunds"][0]["state"]),
        (&json!(900), &json!("succeeded"))
    );

    let (_, page) = me.get("/api/v1/payments?limit=1").await;
    let next = format!("/api/v1/payments?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(me.get(&next).await.1["data"][0]["order_id"], json!(older.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_payments_and_methods_are_not_found() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let _worker = shop.worker().await;
    let owner = Uuid::now_v7();
    let method = shop.add_method(owner, "tok_1", true).await;
    let order = Order::of(owner);
    shop.send(&[order.payment_requested()]).await;
    let payment = shop.told("succeeded", order.id).await;
    let payment = payment["payment_id"].as_str().unwrap();

    let stranger = Client::new(&shop, &api, Uuid::now_v7());
    let table = [
        (Method::GET, format!("/api/v1/payments/{payment}"), "payment-unknown"),
        (Method::DELETE, format!("/api/v1/payment-methods/{method}"), "payment-method-unknown"),
        (Method::PUT, format!("/api/v1/payment-methods/{method}/default"), "payment-method-unknown"),
    ];
    for (verb, path, code) in table {
        let (status, problem) = stranger.call(verb, &path, None).await;
        assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!(code)), "{path}");
    }
    for path in ["/api/v1/payments", "/api/v1/payment-methods"] {
        assert_eq!(stranger.get(path).await.1["data"], json!([]));
    }
    let mine = Client::new(&shop, &api, owner);
    assert_eq!(mine.get("/api/v1/payment-methods").await.1["data"][0]["default"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_wants_a_valid_token_and_sane_parameters() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let anonymous = Client { token: "not.a.token".into(), ..Client::new(&shop, &api, Uuid::nil()) };
    let id = Uuid::now_v7();
    let routes = [
        (Method::GET, "/api/v1/payment-methods".to_owned()),
        (Method::POST, "/api/v1/payment-methods".to_owned()),
        (Method::DELETE, format!("/api/v1/payment-methods/{id}")),
        (Method::PUT, format!("/api/v1/payment-methods/{id}/default")),
        (Method::GET, "/api/v1/payments".to_owned()),
        (Method::GET, format!("/api/v1/payments/{id}")),
    ];
    for (verb, path) in routes {
        let (status, problem) = anonymous.call(verb, &path, None).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::UNAUTHORIZED, &json!("unauthenticated")),
            "{path}"
        );
    }
    let me = Client::new(&shop, &api, id);
    let table = [
        ("/api/v1/payments/seven", StatusCode::BAD_REQUEST, "path-invalid"),
        ("/api/v1/payments?limit=0", StatusCode::UNPROCESSABLE_ENTITY, "validation-failed"),
        ("/api/v1/payments?limit=x", StatusCode::BAD_REQUEST, "query-invalid"),
        ("/api/v1/payments?cursor=x", StatusCode::BAD_REQUEST, "cursor-invalid"),
        ("/api/v1/payment-methods?page=2", StatusCode::BAD_REQUEST, "query-invalid"),
    ];
    for (path, status, code) in table {
        let (got, problem) = me.get(path).await;
        assert_eq!((got, &problem["code"]), (status, &json!(code)), "{path}");
    }
}

#[test]
fn the_description_of_the_api_changes_only_on_purpose() {
    insta::assert_json_snapshot!("openapi", rocketmart_payment::api::openapi());
}
