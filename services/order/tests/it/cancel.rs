//! Cancelling a paid order: delivery decides, and the books follow once.

use rocketmart_contracts::event::{CancelRequested, Payload as _, RefundRequested};
use serde_json::json;

use crate::shop::{PRICE, Shop, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_order_is_cancelled_once_delivery_keeps_the_parcel_and_everything_goes_back_once() {
    let shop = Shop::open().await;
    let sale = shop.open_sale(10).await;
    let buyer = shop.buyer();
    let order = shop.buy_and_pay(&buyer, sale).await;
    let id = order["id"].as_str().unwrap();
    assert_eq!(shop.backing.standing().await, [99, 9]);
    for _ in 0..2 {
        let wish = json!({ "reason": "changed my mind" });
        let (status, pending) = buyer.post(&format!("/api/v1/orders/{id}/cancel"), &wish).await;
        assert_eq!((status, &pending["state"]), (202, &json!("paid")), "{pending}");
        assert_eq!(pending["cancellation"]["state"], "pending");
        assert_eq!(pending["cancellation"]["reason"], "changed my mind");
    }
    let asked = shop.told.until(CancelRequested::TYPE, id, 1).await;
    assert_eq!(asked[0], json!({ "order_id": id, "buyer_id": buyer.id, "reason": "changed my mind" }));

    for _ in 0..2 {
        shop.shipment_is(&order, "cancelled").await;
    }
    let cancelled = shop.until(&buyer, id, "cancelled").await;
    assert_eq!(cancelled["cancellation"]["state"], "granted", "{cancelled}");
    assert_eq!(cancelled["payment"]["state"], "refund_requested");
    let refund = shop.told.until(RefundRequested::TYPE, id, 1).await;
    assert_eq!((&refund[0]["reference"], &refund[0]["amount"]), (&json!(id), &json!(PRICE)), "{refund:?}");
    for _ in 0..2 {
        shop.gives_back(&refund[0]).await;
    }
    eventually("the money is back", async || {
        let (_, seen) = buyer.get(&format!("/api/v1/orders/{id}")).await;
        seen["payment"]["state"] == "refunded" && seen["payment"]["refunded"] == PRICE
    })
    .await;
    // A marker after the repetitions: once it is booked, they have been handled.
    shop.buy_and_pay(&shop.buyer(), sale).await;
    assert_eq!(shop.backing.standing().await, [99, 8], "two sold, one back");
    assert_eq!(shop.backing.ledger().await, [10, 8, 0, 2], "sold units of the sale stay sold");
    assert_eq!(shop.told.of(CancelRequested::TYPE, id).len(), 1);
    assert_eq!(shop.told.of(RefundRequested::TYPE, id).len(), 1);
    let (status, again) = buyer.post(&format!("/api/v1/orders/{id}/cancel"), &json!({})).await;
    assert_eq!((status, &again["state"]), (200, &json!("cancelled")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_lost_to_the_carrier_says_so_and_the_order_goes_on() {
    let shop = Shop::open().await;
    let sale = shop.open_sale(10).await;
    let (buyer, other) = (shop.buyer(), shop.buyer());
    let order = shop.buy_and_pay(&buyer, sale).await;
    let id = order["id"].as_str().unwrap();
    let cancel = format!("/api/v1/orders/{id}/cancel");
    let (status, foreign) = other.post(&cancel, &json!({})).await;
    assert_eq!((status, foreign["code"].as_str()), (404, Some("order-unknown")));
    assert_eq!(buyer.post(&cancel, &json!({})).await.0, 202);
    shop.told.until(CancelRequested::TYPE, id, 1).await;
    shop.shipment_is(&order, "shipped").await;
    shop.cancel_is_refused(&order).await;
    eventually("the refusal is shown", async || {
        let (_, seen) = buyer.get(&format!("/api/v1/orders/{id}")).await;
        seen["cancellation"]["state"] == "refused" && seen["cancellation"]["parcel"] == "shipped"
    })
    .await;
    let (status, refused) = buyer.post(&cancel, &json!({})).await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("order-not-cancellable")), "{refused}");
    shop.shipment_is(&order, "delivered").await;
    let delivered = shop.until(&buyer, id, "delivered").await;
    assert!(delivered["delivered_at"].is_string(), "{delivered}");
    assert!(shop.told.of(RefundRequested::TYPE, id).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_with_an_order_cancelled_after_its_payment_closes_with_balanced_books() {
    let shop = Shop::open().await;
    let sale = shop.open_sale(3).await;
    let order = shop.buy_and_pay(&shop.buyer(), sale).await;
    let id = order["id"].as_str().unwrap();
    shop.shipment_is(&order, "cancelled").await;
    let close = |step: &str| format!("/internal/v1/sales/{sale}/{step}");
    shop.operator().post(&close("close"), &json!({ "fence": 1 })).await;
    let refund = shop.told.until(RefundRequested::TYPE, id, 1).await;
    let (status, early) = shop.operator().post(&close("close-out"), &json!({ "fence": 1 })).await;
    assert_eq!(
        (status, early["code"].as_str()),
        (409, Some("not-drained")),
        "a refund is under way: {early}"
    );
    shop.gives_back(&refund[0]).await;
    let mut report = json!(null);
    eventually("the books are signed", async || {
        let (status, answer) = shop.operator().post(&close("close-out"), &json!({ "fence": 1 })).await;
        report = answer;
        status == 200
    })
    .await;
    assert_eq!(report["differences"], json!([]), "{report}");
    assert_eq!((&report["orders"]["cancelled"], &report["items"][0]["sold"]), (&json!(1), &json!(1)));
    assert_eq!(shop.backing.standing().await, [100, 0], "every unit is ordinary stock again");
}
