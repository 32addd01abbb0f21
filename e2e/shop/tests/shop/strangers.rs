//! What belongs to somebody else does not exist for you: 404, whatever you try.

use rocketmart_shop::{GOOD_CARD, Shop, mug, unique};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_order_payment_shipment_address_and_card_are_unknown() {
    let shop = Shop::open().await;
    let (owner, stranger) = (shop.buyer().await, shop.buyer().await);
    let sale = shop.sale_of(1).await;
    let card = shop.card(&owner, GOOD_CARD).await;
    let address = shop.address(&owner).await;
    let order = shop.purchase(&owner, &sale).await.expect(201);
    let order = order["id"].as_str().unwrap().to_owned();

    // Before the payment, because these would change the order.
    for (what, wish) in [
        ("payment", json!({})),
        ("payment/confirm", json!({})),
        ("cancel", json!({})),
        ("returns", json!({"reason": "mine now"})),
    ] {
        let tried = shop.post(&format!("/api/v1/orders/{order}/{what}")).by(&stranger).json(&wish);
        tried.await.refused(404, "order-unknown");
    }
    let wish = json!({"delivery_address_id": address});
    shop.post(&format!("/api/v1/orders/{order}/payment")).by(&owner).json(&wish).await.expect(202);
    let delivered = shop.order_in(&owner, &order, &["delivered", "completed"]).await;
    let payment = delivered["payment"]["id"].as_str().unwrap();
    let shipment = delivered["shipment"]["id"].as_str().unwrap();

    for (path, code) in [
        (format!("/api/v1/orders/{order}"), "order-unknown"),
        (format!("/api/v1/payments/{payment}"), "payment-unknown"),
        (format!("/api/v1/shipments/{shipment}"), "shipment-unknown"),
        (format!("/api/v1/addresses/{address}"), "address-unknown"),
    ] {
        shop.get(&path).by(&owner).await.expect(200);
        shop.get(&path).by(&stranger).await.refused(404, code);
    }
    let address = format!("/api/v1/addresses/{address}");
    shop.patch(&address).by(&stranger).json(&json!({"city": "부산"})).await.refused(404, "address-unknown");
    shop.put(&format!("{address}/default")).by(&stranger).await.refused(404, "address-unknown");
    shop.delete(&address).by(&stranger).await.refused(404, "address-unknown");
    let card = format!("/api/v1/payment-methods/{card}");
    shop.put(&format!("{card}/default")).by(&stranger).await.refused(404, "payment-method-unknown");
    shop.delete(&card).by(&stranger).await.refused(404, "payment-method-unknown");

    assert_eq!(shop.get(&address).by(&owner).await.expect(200)["city"], "서울", "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sellers_product_can_be_neither_edited_nor_removed() {
    let shop = Shop::open().await;
    let (seller, other) = (shop.seller().await, shop.seller().await);
    let product = shop.publish(&seller, &mug(&unique("MUG"), 12_900, 5)).await;
    let path = format!("/api/v1/products/{}", product["id"].as_str().unwrap());
    let etag = shop.get(&path).await.header("etag").to_owned();
    let edit = shop.patch(&path).by(&other).if_match(&etag).json(&json!({"title": "Mine"}));
    edit.await.refused(404, "product-unknown");
    shop.delete(&path).by(&other).if_match(&etag).await.refused(404, "product-unknown");
    for what in ["publish", "withdraw"] {
        shop.post(&format!("{path}/{what}")).by(&other).await.refused(404, "product-unknown");
    }
    assert_eq!(shop.get(&path).await.header("etag"), etag, "nothing was changed");
}
