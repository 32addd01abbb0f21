//! What the provider tells by itself.

use reqwest::StatusCode;
use rocketmart_outside::provider::signature;
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::shop::{Order, Process, SECRET, Shop, a_while, eventually};

async fn call_back(shop: &Shop, api: &Process, body: &str, header: &str) -> (StatusCode, Value) {
    let request = shop
        .http
        .post(format!("{}/api/v1/payments/callbacks", api.url))
        .header("content-type", "application/json")
        .header("provider-signature", header)
        .body(body.to_owned());
    let answer = request.send().await.unwrap();
    let status = answer.status();
    (status, answer.json().await.unwrap_or_default())
}

fn charge_succeeded(order: Uuid, charge: &str) -> String {
    json!({
        "id": Uuid::now_v7(), "type": "charge.succeeded", "created_at": "2026-01-01T00:00:00Z",
        "data": {"id": charge, "reference": order, "status": "succeeded", "amount": 12_900,
                 "currency": "KRW", "refunded": 0, "created_at": "2026-01-01T00:00:00Z"},
    })
    .to_string()
}

fn signed_now(body: &str) -> String {
    signature(SECRET, OffsetDateTime::now_utc().unix_timestamp(), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn call_backs_that_come_twice_and_in_any_order_settle_a_payment_once() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let callback_url = format!("{}/api/v1/payments/callbacks", api.url);
    shop.control(json!({
        "timeout_after_charging_rate": 1.0, "duplicate_callbacks": true, "callback_jitter_ms": 200,
        "callback_url": callback_url,
    }))
    .await;
    // So patient that only the call-back can settle the payment within this test.
    let mut args = shop.worker_args();
    args.provider.payment_provider_timeout_ms = 60_000;
    let worker = shop.worker_with(args).await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;

    shop.told("succeeded", order.id).await;
    a_while().await;
    assert_eq!(shop.heard_of(order.id).len(), 1);
    assert_eq!(shop.charges_of(order.id).await.len(), 1);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_back_is_believed_for_its_signature_alone() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    shop.control(json!({"outage": true})).await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    shop.wait_for_state(order.id, "processing").await;

    let body = charge_succeeded(order.id, "ch_forged");
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let forged = [
        String::new(),
        "t=1".to_owned(),
        signature("another secret", now, &body),
        signature(SECRET, now, &body.replace("12900", "1")),
        signature(SECRET, now - 3_600, &body),
    ];
    for header in forged {
        let (status, problem) = call_back(&shop, &api, &body, &header).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::UNAUTHORIZED, &json!("signature-invalid")),
            "{header}"
        );
    }
    assert_eq!(shop.state_of(order.id).await.as_deref(), Some("processing"));

    for _ in 0..2 {
        assert_eq!(call_back(&shop, &api, &body, &signed_now(&body)).await.0, StatusCode::NO_CONTENT);
    }
    shop.told("succeeded", order.id).await;
    a_while().await;
    assert_eq!(shop.heard_of(order.id).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_call_back_changes_nothing_that_is_settled() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_declined_1").await);
    shop.send(&[order.payment_requested()]).await;
    shop.told("failed", order.id).await;
    let body = charge_succeeded(order.id, "ch_late");
    assert_eq!(call_back(&shop, &api, &body, &signed_now(&body)).await.0, StatusCode::NO_CONTENT);
    a_while().await;
    assert_eq!(shop.heard_of(order.id).len(), 1);
    assert_eq!(shop.state_of(order.id).await.as_deref(), Some("failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_nonsense_is_refused_and_unknown_kinds_are_passed_over() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    for body in ["", "{}", r#"{"id": "1", "type": "charge.succeeded", "data": {}}"#] {
        let (status, problem) = call_back(&shop, &api, body, &signed_now(body)).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("callback-invalid")),
            "{body}"
        );
    }
    let payout = r#"{"id": "1", "type": "payout.made", "data": 7}"#;
    assert_eq!(call_back(&shop, &api, payout, &signed_now(payout)).await.0, StatusCode::NO_CONTENT);
    let stranger = charge_succeeded(Uuid::now_v7(), "ch_1").replace("charge.succeeded", "charge.declined");
    assert_eq!(call_back(&shop, &api, &stranger, &signed_now(&stranger)).await.0, StatusCode::NO_CONTENT);
    eventually("nothing to be written", async || {
        let payments: i64 =
            sqlx::query_scalar("SELECT count(*) FROM payments").fetch_one(&shop.pool).await.unwrap();
        (payments == 0).then_some(())
    })
    .await;
}
