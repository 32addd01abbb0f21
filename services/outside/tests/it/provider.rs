//! The payment provider over HTTP.

use std::time::Duration;

use axum::routing::post;
use reqwest::StatusCode;
use rocketmart_outside::provider::{self, Running};
use serde_json::{Value, json};
use tokio::sync::mpsc;

const SECRET: &str = "secret";

struct Client {
    provider: Running,
    http: reqwest::Client,
}

impl Client {
    async fn start() -> Self {
        let provider = provider::start(provider::Args {
            provider_listen: "127.0.0.1:0".parse().unwrap(),
            payment_provider_secret: SECRET.into(),
            provider_callback_url: None,
            provider_state_file: None,
        });
        Self { provider: provider.await.unwrap(), http: reqwest::Client::new() }
    }

    async fn post(&self, path: &str, key: &str, body: &Value) -> (StatusCode, Value) {
        let url = format!("{}{path}", self.provider.url());
        let request = self.http.post(url).header("idempotency-key", key).json(body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.provider.url());
        self.http.get(url).send().await.unwrap().json().await.unwrap()
    }

    async fn control(&self, settings: Value) -> StatusCode {
        let url = format!("{}/control", self.provider.url());
        self.http.put(url).json(&settings).send().await.unwrap().status()
    }
}

fn charge(reference: &str) -> Value {
    json!({"token": "tok_1", "amount": 500, "currency": "KRW", "reference": reference})
}

#[tokio::test]
async fn a_card_becomes_a_token_that_does_not_show_it() {
    let client = Client::start().await;
    let tokenize = async |number: &str| {
        let (status, answer) = client.post("/v1/tokens", "k", &json!({"card_number": number})).await;
        assert_eq!(status, StatusCode::CREATED);
        answer["token"].as_str().unwrap().to_owned()
    };
    let token = tokenize("4242 4242 4242 4242").await;
    assert_eq!(token, tokenize("4242424242424242").await);
    assert!(token.starts_with("tok_") && !token.contains("4242424242"));
    let declined = tokenize("4000000000000002").await;
    let body = json!({"token": declined, "amount": 500, "currency": "KRW", "reference": "order-1"});
    let (_, answer) = client.post("/v1/charges", "k", &body).await;
    assert_eq!((&answer["status"], &answer["reason"]), (&json!("declined"), &json!("card_declined")));
}

#[tokio::test]
async fn bad_input_names_the_field_and_never_repeats_a_card_number() {
    let client = Client::start().await;
    let with = |field: &str, value: Value| {
        let mut body = charge("order-1");
        body[field] = value;
        body
    };
    let table = [
        ("/v1/tokens", json!({"card_number": "4242424242424241"}), "invalid_field", json!("card_number")),
        ("/v1/tokens", json!({"card_number": 4_242_424_242_424_242_u64}), "invalid_body", Value::Null),
        ("/v1/charges", with("token", json!("4242424242424242")), "invalid_field", json!("token")),
        ("/v1/charges", with("amount", json!(-1)), "invalid_field", json!("amount")),
        ("/v1/charges", with("currency", json!("won")), "invalid_field", json!("currency")),
        ("/v1/charges", with("reference", json!("")), "invalid_field", json!("reference")),
        ("/v1/charges", with("card_number", json!("4242424242424242")), "invalid_body", Value::Null),
        ("/v1/charges/ch_1/refunds", json!({"amount": -1}), "invalid_field", json!("amount")),
    ];
    for (path, body, code, field) in table {
        let (status, answer) = client.post(path, "k", &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body} {answer}");
        assert_eq!((&answer["code"], &answer["field"]), (&json!(code), &field), "{body} {answer}");
        assert!(!answer.to_string().contains("424242"), "{answer}");
    }
    let (status, answer) = client.post("/v1/charges", "", &charge("order-1")).await;
    assert_eq!((status, &answer["code"]), (StatusCode::BAD_REQUEST, &json!("idempotency_key_missing")));
    assert_eq!(client.control(json!({"decline_rate": 2})).await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(client.get("/v1/charges").await["data"], json!([]));
}

#[tokio::test]
async fn a_charge_is_found_by_key_by_reference_and_in_the_list() {
    let client = Client::start().await;
    let (first, made) = client.post("/v1/charges", "k1", &charge("order-1")).await;
    let (again, repeated) = client.post("/v1/charges", "k1", &charge("order-1")).await;
    assert_eq!((first, again, &made), (StatusCode::CREATED, StatusCode::OK, &repeated));
    let (status, _) = client.post("/v1/charges", "k1", &charge("order-2")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    client.post("/v1/charges", "k2", &charge("order-2")).await;

    assert_eq!(client.get("/v1/charges?reference=order-1").await["data"], json!([made]));
    let page = client.get("/v1/charges?limit=1").await;
    assert_eq!((&page["data"], &page["has_more"]), (&json!([made]), &json!(true)));
    let next = format!("/v1/charges?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    let page = client.get(&next).await;
    assert_eq!((&page["data"][0]["reference"], &page["has_more"]), (&json!("order-2"), &json!(false)));
}

#[tokio::test]
async fn money_is_set_aside_then_captured_or_voided_each_under_its_key() {
    let client = Client::start().await;
    let mut ids = Vec::new();
    for order in ["order-1", "order-2"] {
        let (status, hold) = client.post("/v1/authorizations", order, &charge(order)).await;
        assert_eq!((status, &hold["status"]), (StatusCode::CREATED, &json!("authorized")));
        ids.push(hold["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(client.get("/v1/charges").await["data"], json!([]), "only captured money is a charge");

    let captures = format!("/v1/authorizations/{}/captures", ids[0]);
    let (first, made) = client.post(&captures, "c1", &json!({})).await;
    let (again, repeated) = client.post(&captures, "c1", &json!({})).await;
    assert_eq!((first, again, &made), (StatusCode::CREATED, StatusCode::OK, &repeated));
    assert_eq!(client.get("/v1/charges?reference=order-1").await["data"], json!([made]));
    let (_, refund) = client
        .post(&format!("/v1/charges/{}/refunds", made["id"].as_str().unwrap()), "r1", &json!({"amount": 200}))
        .await;
    assert_eq!(refund["amount"], 200);

    let voids = format!("/v1/authorizations/{}/voids", ids[1]);
    assert_eq!(client.post(&voids, "v1", &json!({})).await.0, StatusCode::CREATED);
    assert_eq!(client.post(&voids, "v1", &json!({})).await.0, StatusCode::OK);
    let refused = [
        (captures.as_str(), "c2", "authorization_captured"),
        (&format!("/v1/authorizations/{}/voids", ids[0]), "v2", "authorization_captured"),
        (&format!("/v1/authorizations/{}/captures", ids[1]), "c3", "authorization_voided"),
    ];
    for (path, key, code) in refused {
        let (status, answer) = client.post(path, key, &json!({})).await;
        assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!(code)), "{path}");
    }
    let (status, answer) = client.post(&captures, "v1", &json!({})).await;
    assert_eq!(
        (status, &answer["code"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("idempotency_key_reused"))
    );
    let (status, _) = client.post("/v1/authorizations/au_0_0/captures", "k", &json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    let list = client.get("/v1/authorizations").await;
    let amounts = ["amount", "captured", "voided", "refunded"].map(|name| list["data"][0][name].clone());
    assert_eq!(amounts, [json!(500), json!(500), json!(0), json!(200)]);
    assert_eq!((&list["data"][1]["voided"], &list["data"][1]["status"]), (&json!(500), &json!("voided")));
    let one = client.get(&format!("/v1/authorizations/{}", ids[1])).await;
    assert_eq!(one, list["data"][1]);
}

#[tokio::test]
async fn a_lost_answer_hides_a_charge_that_was_made() {
    let client = Client::start().await;
    client.control(json!({"timeout_after_charging_rate": 1.0})).await;
    let request = client
        .http
        .post(format!("{}/v1/charges", client.provider.url()))
        .header("idempotency-key", "k1")
        .timeout(Duration::from_millis(300))
        .json(&charge("order-1"));
    assert!(request.send().await.unwrap_err().is_timeout());
    let (status, answer) = client.post("/v1/charges", "k1", &charge("order-1")).await;
    assert_eq!((status, &answer["status"]), (StatusCode::OK, &json!("succeeded")));
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_stop_a_slow_charge_but_a_void_does() {
    let client = Client::start().await;
    client.control(json!({"delay_ms": 600})).await;
    for reference in ["goes on", "voided"] {
        let request = client
            .http
            .post(format!("{}/v1/charges", client.provider.url()))
            .header("idempotency-key", reference)
            .timeout(Duration::from_millis(100))
            .json(&charge(reference));
        assert!(request.send().await.unwrap_err().is_timeout());
    }
    let (_, answer) = client.post("/v1/voids", "", &json!({"reference": "voided"})).await;
    assert_eq!(answer, json!({"reference": "voided", "charge": null}));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let statuses = ["goes on", "voided"].map(|r| format!("/v1/charges?reference={}", r.replace(' ', "%20")));
    assert_eq!(client.get(&statuses[0]).await["data"][0]["status"], "succeeded");
    assert_eq!(client.get(&statuses[1]).await["data"][0]["reason"], "voided");
    let (_, answer) = client.post("/v1/voids", "", &json!({"reference": "goes on"})).await;
    assert_eq!(answer["charge"]["status"], "succeeded");
}

#[tokio::test]
async fn an_outage_refuses_everything_but_its_own_end() {
    let client = Client::start().await;
    client.control(json!({"outage": true})).await;
    let (status, _) = client.post("/v1/charges", "k1", &charge("order-1")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(client.control(json!({"outage": false})).await, StatusCode::OK);
    assert_eq!(client.get("/v1/charges").await["data"], json!([]));
}

#[tokio::test]
async fn call_backs_are_signed_repeated_when_refused_and_doubled_on_request() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let refuse_the_first = std::sync::atomic::AtomicBool::new(true);
    let refuse_the_first = std::sync::Arc::new(refuse_the_first);
    let shop = axum::Router::new().route(
        "/callbacks",
        post(move |headers: axum::http::HeaderMap, body: String| async move {
            let refused = refuse_the_first.swap(false, std::sync::atomic::Ordering::SeqCst);
            let header = headers["provider-signature"].to_str().unwrap().to_owned();
            tell.send((header, body)).unwrap();
            if refused { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NO_CONTENT }
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let callback_url = format!("http://{}/callbacks", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, shop).await });

    let client = Client::start().await;
    client.control(json!({"callback_url": callback_url, "duplicate_callbacks": true})).await;
    client.post("/v1/charges", "k1", &charge("order-1")).await;
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let (header, body) =
            tokio::time::timeout(Duration::from_secs(10), told.recv()).await.unwrap().unwrap();
        let at = header.strip_prefix("t=").unwrap().split_once(',').unwrap().0.parse().unwrap();
        assert_eq!(header, provider::signature(SECRET, at, &body));
        bodies.push(body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    let callback: Value = serde_json::from_str(&bodies[0]).unwrap();
    assert_eq!(
        (&callback["type"], &callback["data"]["reference"]),
        (&json!("charge.succeeded"), &json!("order-1"))
    );
}
