//! Charges that must not happen any more: after their order's release, after their deadline.

use std::time::Duration;

use rocketmart_outside::provider::AuthorizationStatus;
use rocketmart_payment::domain::payment::Capture;
use serde_json::json;

use crate::shop::{Order, Shop, a_while, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_released_before_it_was_charged_is_never_charged() {
    let shop = Shop::open().await;
    let mut args = shop.worker_args();
    // Nobody listens there, so surely nothing was sent.
    args.provider.payment_provider_url = "http://127.0.0.1:9".parse().unwrap();
    let unreachable = shop.worker_with(args).await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    shop.wait_for_state(order.id, "requested").await;
    shop.send(&[order.released()]).await;
    assert_eq!(shop.told("failed", order.id).await["reason"], "order_released");
    assert_eq!(shop.state_of(order.id).await.as_deref(), Some("voided"));
    unreachable.stop().await;

    let _worker = shop.worker().await;
    a_while().await;
    assert!(shop.charges_of(order.id).await.is_empty());
    assert_eq!(shop.heard_of(order.id).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_on_its_way_cannot_arrive_after_the_release() {
    let shop = Shop::open().await;
    // The worker gives up waiting long before the provider decides.
    shop.control(json!({"delay_ms": 4_000})).await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    shop.wait_for_state(order.id, "processing").await;
    shop.send(&[order.released()]).await;

    assert_eq!(shop.told("failed", order.id).await["reason"], "order_released");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let holds = shop.authorizations_of(order.id).await;
    let holds_nothing =
        |status| matches!(status, AuthorizationStatus::Declined | AuthorizationStatus::Voided);
    assert!(!holds.is_empty() && holds.iter().all(|hold| holds_nothing(hold.status)), "{holds:?}");
    assert!(shop.charges_of(order.id).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_charged_before_its_order_was_released_has_succeeded() {
    let shop = Shop::open().await;
    shop.control(json!({"timeout_after_charging_rate": 1.0})).await;
    let mut args = shop.worker_args();
    args.provider.payment_capture = Capture::Automatic;
    args.provider.payment_provider_timeout_ms = 3_000;
    let _worker = shop.worker_with(args).await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await);
    shop.send(&[order.payment_requested()]).await;
    eventually("the charge", async || (!shop.charges_of(order.id).await.is_empty()).then_some(())).await;
    shop.send(&[order.released()]).await;
    // This tells the order that it has to ask for a refund.
    shop.told("succeeded", order.id).await;
    assert_eq!(shop.charges_of(order.id).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_charged_after_the_deadline() {
    let shop = Shop::open().await;
    let _worker = shop.worker().await;
    let order = Order::of(shop.buyer_paying_with("tok_1").await).pay_within(Duration::ZERO);
    shop.send(&[order.payment_requested()]).await;
    assert_eq!(shop.told("failed", order.id).await["reason"], "deadline");
    assert!(shop.charges_of(order.id).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_deadline_the_provider_has_the_last_word() {
    let shop = Shop::open().await;
    shop.control(json!({"timeout_after_charging_rate": 1.0})).await;
    let mut args = shop.worker_args();
    args.provider.payment_provider_timeout_ms = 2_000;
    let _worker = shop.worker_with(args).await;
    let buyer = shop.buyer_paying_with("tok_1").await;
    // Enough time for the worker to start on both.
    let charged = Order::of(buyer).pay_within(Duration::from_secs(15));
    shop.send(&[charged.payment_requested()]).await;
    // The charge is made, its answer is lost, and the provider is away until both deadlines have passed.
    eventually("the charge", async || (!shop.charges_of(charged.id).await.is_empty()).then_some(())).await;
    shop.control(json!({"outage": true})).await;
    let not_charged = Order::of(buyer).pay_within(Duration::from_secs(15));
    shop.send(&[not_charged.payment_requested()]).await;
    shop.wait_for_state(not_charged.id, "processing").await;
    tokio::time::sleep(Duration::from_secs(17)).await;
    for order in [&charged, &not_charged] {
        assert!(shop.heard_of(order.id).is_empty(), "unknown is not failed");
    }

    shop.control(json!({"outage": false})).await;
    shop.told("succeeded", charged.id).await;
    assert_eq!(shop.told("failed", not_charged.id).await["reason"], "deadline");
    assert!(shop.charges_of(not_charged.id).await.is_empty());
}
