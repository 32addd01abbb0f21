//! What the provider reports on its own.

use reqwest::StatusCode;
use rocketmart_outside::provider::signature;
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::shop::{INTERNAL_TOKEN, Order, PREVIOUS_SECRET, Process, SECRET, Shop, a_while, eventually};

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
    charge_of(order, charge, 12_900, "KRW")
}

fn charge_of(order: Uuid, charge: &str, amount: i64, currency: &str) -> String {
    json!({
        "id": Uuid::now_v7(), "type": "charge.succeeded", "created_at": "2026-01-01T00:00:00Z",
        "data": {"id": charge, "reference": order, "status": "succeeded", "amount": amount,
                 "currency": currency, "refunded": 0, "created_at": "2026-01-01T00:00:00Z"},
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
    // It is so patient that only the call-back can settle the payment within this test.
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
async fn a_call_back_with_a_wrong_signature_is_not_read() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let order = shop.stuck_payment().await;
    let charge = shop.charge_by_hand(order.id, 12_900).await;
    let body = charge_succeeded(order.id, &charge.id);
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
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_a_call_back_that_is_signed_with_several_secrets_needs_one_of_ours() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let order = shop.stuck_payment().await;
    let charge = shop.charge_by_hand(order.id, 12_900).await;
    let body = charge_succeeded(order.id, &charge.id);
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let by = |secret: &str| signature(secret, now, &body).split_once(',').unwrap().1.to_owned();
    for ours in [SECRET, PREVIOUS_SECRET] {
        let header = format!("t={now},{},{}", by(ours), by("a secret that is not ours"));
        let (status, problem) = call_back(&shop, &api, &body, &header).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{problem}");
    }
    shop.wait_for_state(order.id, "succeeded").await;
}

/// P1 and P8: a correct signature says who speaks, not that it is true.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_back_tells_must_be_so_of_the_payment_and_in_the_providers_books() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let order = shop.stuck_payment().await;
    let (other, stranger) = (Uuid::now_v7(), Uuid::now_v7());
    let others_charge = shop.charge_by_hand(other, 12_900).await;
    let unknown = [
        ("amount_differs", charge_of(order.id, "ch_forged", 1, "USD"), order.id),
        ("amount_differs", charge_of(order.id, "ch_small", 1, "KRW"), order.id),
        ("unknown_to_provider", charge_succeeded(order.id, "ch_forged"), order.id),
        (
            "unknown_to_provider",
            charge_succeeded(order.id, "ch_forged").replace("succeeded", "declined"),
            order.id,
        ),
        ("provider_differs", charge_succeeded(order.id, &others_charge.id), order.id),
        ("charge_without_payment", charge_succeeded(stranger, "ch_forged"), stranger),
    ];
    for (kind, body, _) in &unknown {
        for _ in 0..2 {
            let (status, problem) = call_back(&shop, &api, body, &signed_now(body)).await;
            assert_eq!(
                (status, &problem["code"]),
                (StatusCode::CONFLICT, &json!("callback-disputed")),
                "{body}"
            );
            assert_eq!(problem["kind"], *kind, "{body}");
        }
    }
    assert_eq!(shop.state_of(order.id).await.as_deref(), Some("processing"));
    let found = shop.differences().await;
    let expected = [
        ("amount_differs", order.id),
        ("amount_differs", order.id),
        ("unknown_to_provider", order.id),
        ("provider_differs", order.id),
        ("charge_without_payment", stranger),
    ];
    assert_eq!(found, expected.map(|(kind, order)| (kind.to_owned(), order.to_string())));

    let list =
        shop.http.get(format!("{}/internal/v1/differences?limit=2", api.url)).bearer_auth(INTERNAL_TOKEN);
    let list: Value = list.send().await.unwrap().json().await.unwrap();
    assert_eq!(list["data"].as_array().unwrap().len(), 2, "{list}");
    assert_eq!(list["data"][0]["kind"], "charge_without_payment", "{list}");

    let charge = shop.charge_by_hand(order.id, 12_900).await;
    let body = charge_succeeded(order.id, &charge.id);
    for _ in 0..2 {
        assert_eq!(call_back(&shop, &api, &body, &signed_now(&body)).await.0, StatusCode::NO_CONTENT);
    }
    let _worker = shop.worker().await;
    shop.told("succeeded", order.id).await;
    a_while().await;
    assert_eq!(shop.heard_of(order.id).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_back_that_cannot_be_confirmed_is_left_to_be_sent_again() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let order = shop.stuck_payment().await;
    let charge = shop.charge_by_hand(order.id, 12_900).await;
    let body = charge_succeeded(order.id, &charge.id);
    shop.control(json!({"outage": true})).await;
    let (status, problem) = call_back(&shop, &api, &body, &signed_now(&body)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("provider-unavailable")));
    assert_eq!(shop.state_of(order.id).await.as_deref(), Some("processing"));
    shop.control(json!({"outage": false})).await;
    assert_eq!(call_back(&shop, &api, &body, &signed_now(&body)).await.0, StatusCode::NO_CONTENT);
    shop.wait_for_state(order.id, "succeeded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_ids_of_any_length_and_with_nul_are_refused_with_a_code() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let order = shop.stuck_payment().await;
    let long = "x".repeat(1_000_000);
    for id in ["", "a\u{0}b", "a/b", "../x", "é", &long] {
        let of_callback = {
            let mut body: Value = serde_json::from_str(&charge_succeeded(order.id, "ch_1")).unwrap();
            body["id"] = json!(id);
            body.to_string()
        };
        for body in [charge_succeeded(order.id, id), of_callback] {
            let (status, problem) = call_back(&shop, &api, &body, &signed_now(&body)).await;
            let code = problem["code"].as_str().unwrap_or_default();
            assert_eq!((status, code), (StatusCode::UNPROCESSABLE_ENTITY, "callback-invalid"), "{id:.20}");
            assert!(problem.to_string().len() < 2_000);
        }
    }
    assert_eq!(shop.state_of(order.id).await.as_deref(), Some("processing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_an_answer_about_other_money_pays_for_nothing() {
    let shop = Shop::open().await;
    let order = shop.stuck_payment().await;
    shop.charge_by_hand(order.id, 1).await;
    // Too late: the provider has the last word, which is about 1 won.
    sqlx::query("UPDATE payments SET pay_by = now(), due_at = now()").execute(&shop.pool).await.unwrap();
    let _worker = shop.worker().await;
    assert_eq!(shop.told("failed", order.id).await["reason"], "answer_differs");
    assert_eq!(shop.differences().await, [("amount_differs".to_owned(), order.id.to_string())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_call_back_changes_nothing_that_is_settled() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_declined_1").await);
    shop.send(&[order.payment_requested()]).await;
    shop.told("failed", order.id).await;
    let charge = shop.charge_by_hand(order.id, 12_900).await;
    let body = charge_succeeded(order.id, &charge.id);
    let (status, problem) = call_back(&shop, &api, &body, &signed_now(&body)).await;
    assert_eq!((status, &problem["kind"]), (StatusCode::CONFLICT, &json!("charge_of_unpaid_payment")));
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
    let stranger = charge_succeeded(Uuid::now_v7(), "ch_1").replace("succeeded", "declined");
    assert_eq!(call_back(&shop, &api, &stranger, &signed_now(&stranger)).await.0, StatusCode::NO_CONTENT);
    eventually("nothing to be written", async || {
        let payments: i64 =
            sqlx::query_scalar("SELECT count(*) FROM payments").fetch_one(&shop.pool).await.unwrap();
        (payments == 0).then_some(())
    })
    .await;
}
