//! The cart of row 18, from a guest to delivery.

use rocketmart_shop::{GOOD_CARD, Member, Shop, eventually, mug, unique};
use serde_json::{Value, json};

/// Publishes a product and returns its SKU.
async fn published(shop: &Shop, seller: &Member, price: i64, units: u32) -> String {
    let sku = unique("SHELF");
    shop.publish(seller, &mug(&sku, price, units)).await;
    sku
}

/// The cart, once everything in it is available.
async fn full_cart(shop: &Shop, buyer: &Member) -> Value {
    eventually("all of the cart can be had", async || {
        let cart = shop.get("/api/v1/cart").by(buyer).await.expect(200);
        let lines = cart["lines"].as_array().unwrap();
        lines
            .iter()
            .all(|line| line["available"].as_i64().unwrap() >= line["quantity"].as_i64().unwrap())
            .then_some(cart)
    })
    .await
}

/// Checks out once Redis offers what the cart shows as available; the cart shows what the books say.
async fn check_out(shop: &Shop, buyer: &Member, wish: &Value) -> Value {
    eventually("Redis offers what the books say", async || {
        let answer = shop.post("/api/v1/cart/checkout").by(buyer).json(wish).await;
        match answer.status {
            503 => answer.refused(503, "stock-unavailable"),
            // The product reached its shelf before its units were counted.
            409 => answer.refused(409, "sold-out"),
            _ => return Some(answer.expect(201)),
        };
        None
    })
    .await
}

/// The request of a buyer who agrees to what the cart shows.
fn agree(cart: &Value) -> Value {
    let line = |line: &Value| json!({"sku": line["sku"], "quantity": line["quantity"], "unit_price": line["unit_price"]});
    let lines: Vec<Value> = cart["lines"].as_array().unwrap().iter().map(line).collect();
    json!({"currency": "KRW", "lines": lines})
}

#[tokio::test(flavor = "multi_thread")]
async fn row_18_a_cart_is_handed_over_checked_out_paid_and_delivered() {
    let shop = Shop::open().await;
    let (seller, buyer) = (shop.seller().await, shop.buyer().await);
    let mug_sku = published(&shop, &seller, 12_900, 5).await;
    let cup_sku = published(&shop, &seller, 7_000, 9).await;
    shop.card(&buyer, GOOD_CARD).await;
    shop.address(&buyer).await;

    let put = |sku: &str, quantity: i64| {
        shop.put(&format!("/api/v1/cart/lines/{sku}")).by(&buyer).json(&json!({"quantity": quantity}))
    };
    eventually("the order service knows the product", async || {
        (put(&mug_sku, 1).await.status == 200).then_some(())
    })
    .await;
    eventually("and the other one", async || (put(&cup_sku, 9).await.status == 200).then_some(())).await;
    let guest = json!({"lines": [{"sku": mug_sku, "quantity": 1, "unit_price": 12_900}]});
    let merged = shop.post("/api/v1/cart/merge").by(&buyer).json(&guest).await.expect(200);
    assert_eq!(merged["cart"]["lines"][0]["quantity"], 2, "one of the guest, one of the member: {merged}");
    put(&cup_sku, 3).await.expect(200);
    let cart = full_cart(&shop, &buyer).await;
    assert_eq!(cart["totals"], json!([{"currency": "KRW", "amount": 2 * 12_900 + 3 * 7_000}]));
    assert_eq!(cart["price_changed"], false, "{cart}");

    let order = check_out(&shop, &buyer, &agree(&cart)).await;
    let id = order["id"].as_str().unwrap();
    assert_eq!((&order["state"], &order["amount"]), (&json!("reserved"), &json!(2 * 12_900 + 3 * 7_000)));
    assert_eq!(shop.get("/api/v1/cart").by(&buyer).await.expect(200)["lines"], json!([]));
    shop.pay(&buyer, &order, &json!({})).await.expect(202);
    let delivered = shop.order_in(&buyer, id, &["delivered", "completed"]).await;
    assert_eq!(delivered["lines"].as_array().unwrap().len(), 2);
    let shipment = format!("/api/v1/shipments/{}", delivered["shipment"]["id"].as_str().unwrap());
    let parcel = shop.get(&shipment).by(&buyer).await.expect(200);
    assert_eq!(parcel["lines"].as_array().unwrap().len(), 2, "one parcel with all of it: {parcel}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_18_what_is_in_a_cart_is_not_held_and_is_reserved_together_or_not_at_all() {
    let shop = Shop::open().await;
    let (seller, first, second) = (shop.seller().await, shop.buyer().await, shop.buyer().await);
    let rare = published(&shop, &seller, 12_900, 1).await;
    let plain = published(&shop, &seller, 7_000, 9).await;
    for buyer in [&first, &second] {
        for sku in [&rare, &plain] {
            eventually("it is in the cart", async || {
                let path = format!("/api/v1/cart/lines/{sku}");
                let put = shop.put(&path).by(buyer).json(&json!({"quantity": 1})).await;
                (put.status == 200).then_some(())
            })
            .await;
        }
    }
    let wish = agree(&full_cart(&shop, &second).await);
    let won = check_out(&shop, &first, &wish).await;
    let refused = shop.post("/api/v1/cart/checkout").by(&second).json(&wish).await.refused(409, "sold-out");
    assert_eq!(refused["sku"], rare, "{refused}");
    let orders = shop.get("/api/v1/orders").by(&second).await.expect(200);
    assert_eq!(orders["data"], json!([]), "nothing of it was reserved");
    let cancel = format!("/api/v1/orders/{}/cancel", won["id"].as_str().unwrap());
    shop.post(&cancel).by(&first).json(&json!({})).await.expect(200);
    eventually("what was given back is had by the next one", async || {
        (shop.post("/api/v1/cart/checkout").by(&second).json(&wish).await.status == 201).then_some(())
    })
    .await;
}
