//! Money that is first set aside and then captured, and what happens in between.

use std::time::Duration;

use reqwest::StatusCode;
use rocketmart_outside::provider::{Authorization, AuthorizationStatus};
use rocketmart_payment::domain::payment::{Capture, payment_id};
use rocketmart_payment::worker;
use serde_json::{Value, json};

use crate::api::Client;
use crate::shop::{Order, Shop, a_while, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn money_is_set_aside_and_captured_once_though_every_answer_is_lost() {
    let shop = Shop::open().await;
    shop.control(json!({"timeout_after_charging_rate": 1.0})).await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    shop.told("succeeded", order.id).await;
    a_while().await;
    assert_eq!(shop.heard_of(order.id).len(), 1);
    let (holds, charges) = (shop.authorizations_of(order.id).await, shop.charges_of(order.id).await);
    assert_eq!((holds.len(), charges.len()), (1, 1));
    assert_eq!((holds[0].status, holds[0].captured), (AuthorizationStatus::Captured, 12_900));
    assert_eq!(charges[0].authorization_id.as_ref(), Some(&holds[0].id));
}

/// An order whose money is set aside and recorded; no worker runs.
async fn held(shop: &Shop) -> Order {
    let unreachable = shop.worker_with(nobody_there(shop)).await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    shop.wait_for_state(order.id, "requested").await;
    unreachable.stop().await;
    let payment = payment_id(order.id);
    let hold: Authorization = shop
        .http
        .post(format!("{}/v1/authorizations", shop.provider.url()))
        .header("idempotency-key", payment.to_string())
        .json(&json!({"token": "tok_1", "amount": 12_900, "currency": "KRW", "reference": order.id}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    sqlx::query(
        "UPDATE payments SET state = 'authorized', capture = 'manual', provider_authorization_id = $2,
                             due_at = now() WHERE id = $1 AND state = 'requested'",
    )
    .bind(payment)
    .bind(hold.id)
    .execute(&shop.pool)
    .await
    .unwrap();
    order
}

/// A worker whose provider surely hears nothing.
fn nobody_there(shop: &Shop) -> worker::Args {
    let mut args = shop.worker_args();
    args.provider.payment_provider_url = "http://127.0.0.1:9".parse().unwrap();
    args
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_released_between_the_two_steps_is_given_up_instead_of_charged_and_refunded() {
    let shop = Shop::open().await;
    let order = held(&shop).await;
    let unreachable = shop.worker_with(nobody_there(&shop)).await;
    shop.send(&[order.released()]).await;
    eventually("the release to be taken", async || {
        sqlx::query_scalar::<_, bool>("SELECT released FROM payments WHERE order_id = $1")
            .bind(order.id)
            .fetch_one(&shop.pool)
            .await
            .unwrap()
            .then_some(())
    })
    .await;
    shop.wait_for_state(order.id, "authorized").await;
    unreachable.stop().await;
    assert!(shop.heard_of(order.id).is_empty(), "unknown is not failed");

    let _worker = shop.worker().await;
    assert_eq!(shop.told("failed", order.id).await["reason"], "order_released");
    a_while().await;
    assert_eq!(shop.heard_of(order.id).len(), 1);
    assert!(shop.charges_of(order.id).await.is_empty());
    let holds = shop.authorizations_of(order.id).await;
    assert_eq!((holds[0].status, holds[0].voided), (AuthorizationStatus::Voided, 12_900));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_released_while_money_is_being_set_aside_is_given_up_as_well() {
    let shop = Shop::open().await;
    shop.control(json!({"delay_ms": 2_000})).await;
    let mut args = shop.worker_args();
    args.provider.payment_provider_timeout_ms = 20_000;
    let _worker = shop.worker_with(args).await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    shop.wait_for_state(order.id, "processing").await;
    shop.send(&[order.released()]).await;
    assert_eq!(shop.told("failed", order.id).await["reason"], "order_released");
    assert!(shop.charges_of(order.id).await.is_empty());
    assert_eq!(shop.authorizations_of(order.id).await[0].status, AuthorizationStatus::Voided);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_whose_outcome_is_unknown_when_the_order_is_released_is_asked_about() {
    let shop = Shop::open().await;
    let order = held(&shop).await;
    // The capture is made, its answer is lost, and the order is released before anybody asks again.
    shop.control(json!({"timeout_after_charging_rate": 1.0})).await;
    let mut args = shop.worker_args();
    args.provider.payment_provider_timeout_ms = 3_000;
    let _worker = shop.worker_with(args).await;
    eventually("the charge", async || (!shop.charges_of(order.id).await.is_empty()).then_some(())).await;
    assert_eq!(shop.state_of(order.id).await.as_deref(), Some("capturing"));
    shop.send(&[order.released()]).await;
    // This tells the order that it has to ask for a refund.
    shop.told("succeeded", order.id).await;
    a_while().await;
    assert_eq!(shop.heard_of(order.id).len(), 1);
    assert_eq!(shop.charges_of(order.id).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_gave_up_by_itself_fails_the_payment() {
    let shop = Shop::open().await;
    let order = held(&shop).await;
    let hold = shop.authorizations_of(order.id).await.remove(0);
    let url = format!("{}/v1/authorizations/{}/voids", shop.provider.url(), hold.id);
    let answer = shop.http.post(url).header("idempotency-key", "expired").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let _worker = shop.worker().await;
    assert_eq!(shop.told("failed", order.id).await["reason"], "provider_refused");
    assert!(shop.charges_of(order.id).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_deadline_passes_while_money_is_held_gives_it_up() {
    let shop = Shop::open().await;
    let order = held(&shop).await;
    sqlx::query("UPDATE payments SET pay_by = now() WHERE order_id = $1")
        .bind(order.id)
        .execute(&shop.pool)
        .await
        .unwrap();
    let _worker = shop.worker().await;
    assert_eq!(shop.told("failed", order.id).await["reason"], "deadline");
    assert_eq!(shop.authorizations_of(order.id).await[0].status, AuthorizationStatus::Voided);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_automatic_capture_money_is_taken_in_one_call_and_nothing_is_set_aside() {
    let shop = Shop::open().await;
    let mut args = shop.worker_args();
    args.provider.payment_capture = Capture::Automatic;
    let automatic = shop.worker_with(args).await;
    shop.control(json!({"timeout_after_charging_rate": 1.0})).await;
    let buyer = shop.buyer_paying_with("tok_1").await;
    let order = Order::of(buyer);
    shop.send(&[order.payment_requested()]).await;
    eventually("the charge", async || (!shop.charges_of(order.id).await.is_empty()).then_some(())).await;
    automatic.stop().await;
    // A payment that began with one call does not end with two.
    let _manual = shop.worker().await;
    shop.told("succeeded", order.id).await;
    assert_eq!(shop.charges_of(order.id).await.len(), 1);
    assert!(shop.authorizations_of(order.id).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_sees_that_money_is_set_aside() {
    let shop = Shop::open().await;
    let order = held(&shop).await;
    let api = shop.api().await;
    let me = Client::new(&shop, &api, order.buyer);
    let (status, list): (StatusCode, Value) = me.get("/api/v1/payments").await;
    assert_eq!((status, &list["data"][0]["state"]), (StatusCode::OK, &json!("authorized")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_of_the_bank_is_final_at_the_first_step() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_declined_1").await);
    shop.send(&[order.payment_requested()]).await;
    assert_eq!(shop.told("failed", order.id).await["reason"], "card_declined");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(shop.authorizations_of(order.id).await[0].status, AuthorizationStatus::Declined);
    assert!(shop.charges_of(order.id).await.is_empty());
}
