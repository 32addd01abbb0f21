//! Rows 3, 4, 5, 12, 13 and 17: from a purchase to a parcel, and back.

use rocketmart_shop::{DECLINED_CARD, GOOD_CARD, Offer, Shop, Units, eventually};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn row_03_buyers_register_payment_methods_and_pay_with_them() {
    let shop = Shop::open().await;
    let (buyer, other) = (shop.buyer().await, shop.buyer().await);
    let sale = shop.sale_of(2).await;
    let first = shop.card(&buyer, GOOD_CARD).await;
    let second = shop.card(&buyer, "5555 5555 5555 4444").await;
    let methods = shop.get("/api/v1/payment-methods").by(&buyer).await.expect(200);
    let default = methods["data"].as_array().unwrap().iter().find(|method| method["default"] == true);
    assert_eq!(default.unwrap()["id"], first, "the first one is the default");
    assert!(!methods.to_string().contains("tok_"), "a token is not shown again");

    shop.address(&buyer).await;
    let order = shop.purchase(&buyer, &sale).await.expect(201);
    shop.pay(&buyer, &order, &json!({"payment_method_id": second})).await.expect(202);
    let paid = eventually("the order is paid", async || {
        let order = shop.get(&format!("/api/v1/orders/{}", order["id"].as_str().unwrap())).by(&buyer).await;
        let order = order.expect(200);
        // Redis knows that the money came a moment before the books know which payment it was.
        (order["payment"]["state"] == "succeeded" && order["payment"]["id"].is_string()).then_some(order)
    })
    .await;
    assert_eq!(paid["payment"]["payment_method_id"], second);
    let payment = format!("/api/v1/payments/{}", paid["payment"]["id"].as_str().unwrap());
    let seen = shop.get(&payment).by(&buyer).await.expect(200);
    assert_eq!((&seen["order_id"], &seen["amount"]), (&order["id"], &json!(19_900)));
    shop.get(&payment).by(&other).await.refused(404, "payment-unknown");

    let theirs = shop.purchase(&other, &sale).await.expect(201);
    shop.address(&other).await;
    let with_anothers_card = shop.pay(&other, &theirs, &json!({"payment_method_id": first})).await;
    with_anothers_card.refused(422, "payment-method-unknown");
}

/// P5 and P6: what a request names must exist and belong to the buyer, and a failed try costs nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_needs_a_card_and_an_address_of_the_buyers_own() {
    let shop = Shop::open().await;
    let (buyer, other) = (shop.buyer().await, shop.buyer().await);
    let sale = shop.sale_of(1).await;
    let (their_card, their_home) = (shop.card(&other, GOOD_CARD).await, shop.address(&other).await);
    let order = shop.purchase(&buyer, &sale).await.expect(201);
    let try_with = async |wish: &serde_json::Value| shop.pay(&buyer, &order, wish).await;
    let refused = async |wish: serde_json::Value, code: &str, field: &str| {
        let answer = try_with(&wish).await;
        let problem = answer.json();
        answer.refused(422, code);
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
        assert_eq!(shop.units(&sale).await.sold, 0);
    };
    refused(json!({}), "payment-method-missing", "payment_method_id").await;
    let gone = shop.card(&buyer, GOOD_CARD).await;
    refused(json!({}), "delivery-address-missing", "delivery_address_id").await;
    let moved_out = shop.address(&buyer).await;
    shop.delete(&format!("/api/v1/payment-methods/{gone}")).by(&buyer).await.expect(204);
    shop.delete(&format!("/api/v1/addresses/{moved_out}")).by(&buyer).await.expect(204);
    let unknown = "00000000-0000-7000-8000-000000000000";
    for card in [unknown, gone.as_str(), their_card.as_str()] {
        refused(json!({"payment_method_id": card}), "payment-method-unknown", "payment_method_id").await;
    }
    let card = shop.card(&buyer, GOOD_CARD).await;
    for address in [unknown, moved_out.as_str(), their_home.as_str()] {
        let wish = json!({"delivery_address_id": address});
        refused(wish, "delivery-address-unknown", "delivery_address_id").await;
        let wish = json!({"delivery_address_id": address, "confirm": false});
        refused(wish, "delivery-address-unknown", "delivery_address_id").await;
    }
    let home = shop.address(&buyer).await;
    try_with(&json!({})).await.expect(202);
    let paid =
        shop.order_in(&buyer, order["id"].as_str().unwrap(), &["paid", "preparing", "shipped", "delivered"]);
    let paid = paid.await;
    assert_eq!(paid["payment"]["payment_method_id"], card, "the default, fixed when it was paid");
    assert_eq!(paid["delivery_address_id"], home);
    // Deleting it afterwards does not change what was answered.
    shop.delete(&format!("/api/v1/payment-methods/{card}")).by(&buyer).await.expect(204);
    try_with(&json!({})).await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_04_buyers_register_addresses_and_have_orders_sent_there() {
    let shop = Shop::open().await;
    let buyer = shop.buyer().await;
    let sale = shop.sale_of(1).await;
    shop.card(&buyer, GOOD_CARD).await;
    let home = shop.address(&buyer).await;
    let office = shop.address(&buyer).await;
    let path = format!("/api/v1/addresses/{office}");
    shop.patch(&path).by(&buyer).json(&json!({"line1": "테헤란로 152", "line2": null})).await.expect(200);
    shop.put(&format!("/api/v1/addresses/{home}/default")).by(&buyer).await.expect(204);

    let order = shop.purchase(&buyer, &sale).await.expect(201);
    shop.pay(&buyer, &order, &json!({"delivery_address_id": office})).await.expect(202);
    let shipped = shop.order_in(&buyer, order["id"].as_str().unwrap(), &["delivered", "completed"]).await;
    assert_eq!(shipped["delivery_address_id"], office);
    let shipment = format!("/api/v1/shipments/{}", shipped["shipment"]["id"].as_str().unwrap());
    let shipment = shop.get(&shipment).by(&buyer).await.expect(200);
    assert!(shipment.to_string().contains("테헤란로 152"), "sent to the office: {shipment}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_05_buyers_see_their_orders_with_delivery_status() {
    let shop = Shop::open().await;
    let (buyer, other) = (shop.buyer().await, shop.buyer().await);
    let sale = shop.sale_of(1).await;
    shop.card(&buyer, GOOD_CARD).await;
    shop.address(&buyer).await;
    let order = shop.purchase(&buyer, &sale).await.expect(201);
    let id = order["id"].as_str().unwrap();
    shop.pay(&buyer, &order, &json!({})).await.expect(202);
    let delivered = shop.order_in(&buyer, id, &["delivered", "completed"]).await;
    assert!(delivered["shipment"]["tracking_number"].is_string(), "{delivered}");
    let listed = shop.get("/api/v1/orders").by(&buyer).await.expect(200);
    let mine = listed["data"].as_array().unwrap();
    assert_eq!(mine.len(), 1);
    assert_eq!(mine[0]["id"], order["id"]);
    assert!(["delivered", "completed"].contains(&mine[0]["state"].as_str().unwrap()), "{}", mine[0]);
    assert_eq!(mine[0]["shipment"]["id"], delivered["shipment"]["id"]);
    let theirs = shop.get("/api/v1/orders").by(&other).await.expect(200);
    assert!(theirs["data"].as_array().unwrap().is_empty(), "orders are one's own");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_12_p4_a_declined_card_costs_no_unit_and_another_one_pays() {
    let shop = Shop::open().await;
    let (unlucky, later) = (shop.buyer().await, shop.buyer().await);
    let sale = shop.sale_of(1).await;
    shop.card(&unlucky, DECLINED_CARD).await;
    let second = shop.card(&unlucky, GOOD_CARD).await;
    shop.address(&unlucky).await;
    let order = shop.purchase(&unlucky, &sale).await.expect(201);
    shop.pay(&unlucky, &order, &json!({})).await.expect(202);
    let failed = shop.failed_payment(&unlucky, &order).await;
    assert_eq!(failed["payment"]["reason"], "card_declined");
    assert_eq!(failed["state"], "reserved", "held until `pay_by`");
    shop.purchase(&later, &sale).await.refused(409, "sold-out");

    shop.pay(&unlucky, &order, &json!({"payment_method_id": second})).await.expect(202);
    let paid = ["paid", "preparing", "shipped", "delivered", "completed"];
    let paid = shop.order_in(&unlucky, order["id"].as_str().unwrap(), &paid).await;
    assert_eq!(paid["payment"]["payment_method_id"], second);
    shop.units_become(&sale, "it is sold", Units { remaining: 0, reserved: 0, sold: 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_12_a_declined_order_that_is_not_paid_in_time_puts_the_stock_back() {
    let shop = Shop::open().await;
    let (unlucky, later) = (shop.buyer().await, shop.buyer().await);
    let sale = shop.sale_on(|sku| Offer { payment_seconds: 10, ..Offer::of(sku, 1) }).await;
    shop.card(&unlucky, DECLINED_CARD).await;
    shop.address(&unlucky).await;
    let order = shop.purchase(&unlucky, &sale).await.expect(201);
    shop.pay(&unlucky, &order, &json!({})).await.expect(202);
    let id = order["id"].as_str().unwrap();
    shop.order_in(&unlucky, id, &["expired", "payment_failed"]).await;
    // Redis ends it first; a moment later the books have why its payment failed.
    eventually("why the payment failed is told", async || {
        let over = shop.get(&format!("/api/v1/orders/{id}")).by(&unlucky).await.json();
        (over["payment"]["reason"] == "card_declined").then_some(())
    })
    .await;
    shop.gets_a_unit(&later, &sale).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_another_card_is_not_taken_while_a_payment_is_under_way() {
    let shop = Shop::open().await;
    let buyer = shop.buyer().await;
    let sale = shop.sale_of(1).await;
    let first = shop.card(&buyer, GOOD_CARD).await;
    let second = shop.card(&buyer, "5555 5555 5555 4444").await;
    shop.address(&buyer).await;
    let order = shop.purchase(&buyer, &sale).await.expect(201);
    let pay = async |card: &str, key: &str| {
        shop.pay(&buyer, &order, &json!({"payment_method_id": card})).key(key).await
    };
    pay(&first, "pay").await.expect(202);
    pay(&first, "pay").await.expect(202);
    for key in ["pay", "another"] {
        let answer = pay(&second, key).await;
        assert_eq!(answer.status, 409, "{}", answer.text);
        let code = answer.json()["code"].clone();
        assert!(code == "payment-under-way" || code == "order-not-payable", "{code}");
    }
}

/// S8: an order that costs nothing needs no card and no provider.
#[tokio::test(flavor = "multi_thread")]
async fn s8_an_order_of_nothing_is_paid_at_once_without_a_card() {
    let shop = Shop::open().await;
    let buyer = shop.buyer().await;
    let sale = shop.sale_on(|sku| Offer { price: 0, ..Offer::of(sku, 1) }).await;
    shop.address(&buyer).await;
    let order = shop.purchase(&buyer, &sale).await.expect(201);
    assert_eq!(order["amount"], 0);
    shop.pay(&buyer, &order, &json!({})).await.expect(202);
    shop.order_in(&buyer, order["id"].as_str().unwrap(), &["delivered"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_12_an_abandoned_payment_puts_the_stock_back() {
    let shop = Shop::open().await;
    let (absent, later) = (shop.buyer().await, shop.buyer().await);
    let sale = shop.sale_on(|sku| Offer { payment_seconds: 5, ..Offer::of(sku, 1) }).await;
    let abandoned = shop.purchase(&absent, &sale).await.expect(201);
    shop.order_in(&absent, abandoned["id"].as_str().unwrap(), &["expired"]).await;
    shop.gets_a_unit(&later, &sale).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_13_only_a_successful_payment_reduces_the_durable_stock() {
    let shop = Shop::open().await;
    let (payer, absent) = (shop.buyer().await, shop.buyer().await);
    let sale = shop.sale_of(3).await;
    shop.card(&payer, GOOD_CARD).await;
    shop.address(&payer).await;
    let order = shop.purchase(&payer, &sale).await.expect(201);
    shop.purchase(&absent, &sale).await.expect(201);
    shop.units_become(
        &sale,
        "both are reserved in the books and none is sold",
        Units { remaining: 1, reserved: 2, sold: 0 },
    )
    .await;
    shop.pay(&payer, &order, &json!({})).await.expect(202);
    shop.units_become(&sale, "one is sold", Units { remaining: 1, reserved: 1, sold: 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_an_unpaid_order_is_cancelled_at_once_and_its_unit_sold_again() {
    let shop = Shop::open().await;
    let (buyer, later) = (shop.buyer().await, shop.buyer().await);
    let sale = shop.sale_of(1).await;
    let order = shop.purchase(&buyer, &sale).await.expect(201);
    let cancel = || {
        let path = format!("/api/v1/orders/{}/cancel", order["id"].as_str().unwrap());
        shop.post(&path).by(&buyer).json(&json!({"reason": "changed my mind"}))
    };
    assert_eq!(cancel().await.expect(200)["state"], "cancelled");
    shop.gets_a_unit(&later, &sale).await;
    assert_eq!(cancel().await.expect(200)["state"], "cancelled", "it may be repeated");
    shop.units_become(
        &sale,
        "the books show one unit, reserved",
        Units { remaining: 0, reserved: 1, sold: 0 },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_a_paid_order_that_is_cancelled_either_gets_its_money_back_or_its_parcel() {
    let shop = Shop::open().await;
    let buyer = shop.buyer().await;
    let sale = shop.sale_of(1).await;
    shop.card(&buyer, GOOD_CARD).await;
    shop.address(&buyer).await;
    let order = shop.purchase(&buyer, &sale).await.expect(201);
    let id = order["id"].as_str().unwrap();
    shop.pay(&buyer, &order, &json!({})).await.expect(202);
    shop.order_in(&buyer, id, &["paid", "preparing", "shipped", "delivered"]).await;
    // The carrier may have been faster; this test does not care.
    let asked = shop.post(&format!("/api/v1/orders/{id}/cancel")).by(&buyer).json(&json!({})).await;
    if asked.status == 409 {
        asked.refused(409, "order-not-cancellable");
    } else {
        assert_eq!(asked.expect(202)["cancellation"]["state"], "pending");
    }
    let ended = eventually("the money or the parcel has arrived", async || {
        let order = shop.get(&format!("/api/v1/orders/{id}")).by(&buyer).await.expect(200);
        let (state, payment) = (&order["state"], &order["payment"]["state"]);
        ((state == "cancelled" && payment == "refunded") || state == "delivered").then_some(order)
    })
    .await;
    let refunded = ended["payment"]["refunded"].as_i64().unwrap_or_default();
    assert_eq!(refunded, if ended["state"] == "cancelled" { 19_900 } else { 0 }, "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_a_delivered_order_is_returned_and_paid_back_once() {
    let shop = Shop::open().await;
    let buyer = shop.buyer().await;
    let sale = shop.sale_of(1).await;
    shop.card(&buyer, GOOD_CARD).await;
    shop.address(&buyer).await;
    let order = shop.purchase(&buyer, &sale).await.expect(201);
    let id = order["id"].as_str().unwrap();
    let path = format!("/api/v1/orders/{id}/returns");
    let wish = json!({"reason": "too small"});
    shop.pay(&buyer, &order, &json!({})).await.expect(202);
    shop.order_in(&buyer, id, &["delivered"]).await;
    let first = shop.post(&path).by(&buyer).key("back").json(&wish).await.expect(201);
    assert_eq!(first["amount"], 19_900);
    let again = shop.post(&path).by(&buyer).key("back").json(&wish).await.expect(201);
    assert_eq!(again["id"], first["id"], "announced once");
    let refunded = shop.order_in(&buyer, id, &["refunded"]).await;
    assert_eq!(refunded["payment"]["refunded"], 19_900, "{refunded}");
    shop.post(&path).by(&buyer).json(&wish).await.refused(409, "order-not-returnable");
}
