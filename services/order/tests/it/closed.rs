//! What buyers hear once the books of their sale are signed off, whatever happens to Redis then.

use reqwest::Method;
use rocketmart_contracts::event::{Payload as _, PaymentRequested};
use rocketmart_stock::{PurgeOutcome, SaleId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::rebuild::closed;
use crate::shop::{Caller, MUG, Shop, eventually};

async fn purchase(buyer: &Caller, sale: &str, quantity: u32, key: &str) -> (u16, Value) {
    let body = json!({ "sku": MUG, "quantity": quantity });
    buyer.call(Method::POST, &format!("/api/v1/sales/{sale}/purchases"), Some(&body), Some(key)).await
}

/// Checks what each kind of buyer hears, by the sale's id and by its name.
async fn answers_are_right(shop: &Shop, sale: Uuid, buyer: &Caller, order: &str) {
    for named in [sale.to_string(), "mugs".to_owned()] {
        let (status, again) = purchase(buyer, &named, 1, "k").await;
        assert_eq!((status, again["id"].as_str()), (201, Some(order)), "the order they have: {again}");
        assert_eq!(again["state"], "paid", "{again}");
        let refused = [
            (purchase(buyer, &named, 2, "k").await, 422, "idempotency-key-reused"),
            (purchase(buyer, &named, 1, "another").await, 409, "sale-closed"),
            (purchase(&shop.buyer(), &named, 1, "k").await, 409, "sale-closed"),
        ];
        for ((status, answer), expected, code) in refused {
            assert_eq!((status, answer["code"].as_str()), (expected, Some(code)), "{answer}");
        }
        let (_, found) = buyer.get(&format!("/api/v1/sales/{named}")).await;
        assert_eq!(found["state"], "closed", "{found}");
    }
}

/// O1
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_purchase_in_a_sale_that_was_closed_out_finds_its_order_though_redis_restarted_or_forgot()
{
    let mut shop = Shop::open().await;
    let sale = shop.open_sale(2).await;
    let buyer = shop.buyer();
    let order = shop.buy_and_pay(&buyer, sale).await;
    let id = order["id"].as_str().unwrap().to_owned();
    closed(&shop, sale).await;
    // Redis refuses buyers at once; the replica reads the list of sales twice a second.
    eventually("the sale is listed as closed", async || {
        buyer.get(&format!("/api/v1/sales/{sale}")).await.1["state"] == "closed"
    })
    .await;
    answers_are_right(&shop, sale, &buyer, &id).await;

    shop.backing.redis.restart().unwrap();
    eventually("the API has heard of the close-out", async || {
        purchase(&buyer, "mugs", 1, "k").await.0 == 201
    })
    .await;
    answers_are_right(&shop, sale, &buyer, &id).await;

    eventually("Redis is back and has forgotten the sale", async || {
        matches!(shop.backing.stock.purge(SaleId(sale), 1).await, Ok(PurgeOutcome::Purged))
    })
    .await;
    answers_are_right(&shop, sale, &buyer, &id).await;
}

/// O6
#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_once_is_answered_alike_long_after_the_sale() {
    let shop = Shop::open().await;
    let sale = shop.open_sale(3).await;
    let (buyer, leaver) = (shop.buyer(), shop.buyer());
    let (_, order) = buyer.purchase(sale, 1, "k").await;
    let id = order["id"].as_str().unwrap();
    let details = json!({ "payment_method_id": Uuid::now_v7(), "delivery_address_id": Uuid::now_v7() });
    let pay = format!("/api/v1/orders/{id}/payment");
    let (status, accepted) = buyer.post(&pay, &details).await;
    assert_eq!(status, 202, "{accepted}");
    shop.told.until(PaymentRequested::TYPE, id, 1).await;
    shop.payment_succeeds(&order, Uuid::now_v7()).await;
    shop.until_booked(id, "paid").await;
    shop.shipment_is(&order, "delivered").await;
    shop.until_booked(id, "delivered").await;
    let (_, left) = leaver.purchase(sale, 1, "k").await;
    let cancel = format!("/api/v1/orders/{}/cancel", left["id"].as_str().unwrap());
    assert_eq!(leaver.post(&cancel, &json!({})).await.0, 200);
    let wish = json!({ "reason": "too small" });
    let (status, returned) = buyer.send_back(id, "back", &wish).await;
    assert_eq!(status, 201, "{returned}");
    closed(&shop, sale).await;
    eventually("Redis has forgotten the sale", async || {
        matches!(shop.backing.stock.purge(SaleId(sale), 1).await, Ok(PurgeOutcome::Purged))
    })
    .await;

    let mut less = details.clone();
    less["delivery_address_id"] = Value::Null;
    let mut unconfirmed = details.clone();
    unconfirmed["confirm"] = json!(false);
    for body in [&details, &less, &json!({}), &unconfirmed] {
        let (status, again) = buyer.post(&pay, body).await;
        assert_eq!((status, again["id"].as_str()), (202, Some(id)), "{body}: {again}");
        assert_eq!(again["payment"]["payment_method_id"], details["payment_method_id"], "{again}");
    }
    let (status, again) = buyer.post(&format!("{pay}/confirm"), &json!({})).await;
    assert_eq!((status, again["id"].as_str()), (202, Some(id)), "{again}");
    let other = json!({ "payment_method_id": Uuid::now_v7() });
    let (status, refused) = buyer.post(&pay, &other).await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("order-not-payable")), "{refused}");

    assert_eq!(buyer.send_back(id, "back", &wish).await, (201, returned));
    let (status, cancelled) = leaver.post(&cancel, &json!({})).await;
    assert_eq!((status, cancelled["state"].as_str()), (200, Some("cancelled")), "{cancelled}");
    let (status, refused) = leaver.post(&cancel.replace("cancel", "payment"), &json!({})).await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("order-not-payable")), "{refused}");
    let (status, refused) = shop.buyer().post(&pay, &details).await;
    assert_eq!((status, refused["code"].as_str()), (404, Some("order-unknown")), "{refused}");
}
