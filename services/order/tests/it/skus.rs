//! What a seller says about a SKU: whose it is, how many there are, and what happens to earlier promises.

use rocketmart_order::store::skus;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ordinary::{PEN, buy, check_out, shelf_becomes, with_pens};
use crate::shop::{PRICE, Shop, becomes, offer};

/// A published one-SKU product, as the catalog reports it.
struct Told {
    id: Uuid,
    seller: Uuid,
    claim: i64,
}

impl Told {
    fn by(seller: Uuid, claim: i64) -> Self {
        Self { id: Uuid::now_v7(), seller, claim }
    }

    /// Says this many, counted in `counted_in`.
    fn says(&self, version: i64, quantity: i64, counted_in: i64) -> Value {
        json!({
            "product_id": self.id, "seller_id": self.seller, "version": version, "state": "published",
            "title": format!("Product {}", self.claim), "description": "", "currency": "EUR", "categories": [],
            "tags": [], "pictures": [], "updated_at": "2026-01-01T00:00:00Z",
            "variants": [{ "sku": PEN, "price": PRICE, "quantity": quantity, "options": {}, "claim": self.claim,
                "counted_in": counted_in }],
        })
    }
}

async fn delete(shop: &Shop, product: Uuid) {
    let mut connection = shop.backing.pool.acquire().await.unwrap();
    skus::withdraw(&mut connection, product).await.unwrap();
}

async fn available(shop: &Shop) -> (Value, Value) {
    let (_, known) = shop.operator().get("/internal/v1/skus?sku=PEN").await;
    (known["skus"][0]["product_id"].clone(), known["skus"][0]["available"].clone())
}

async fn on_offer_becomes(shop: &Shop, product: Uuid, units: i64) {
    becomes("the product on offer and its units", (json!(product), json!(units)), async || {
        available(shop).await
    })
    .await;
}

/// A shop in which this product has ten pens on its shelf. Before that, a catalog without claims reported
/// their SKU.
async fn selling(product: &Told) -> Shop {
    let shop = with_pens(10).await;
    delete(&shop, Uuid::new_v5(&Uuid::NAMESPACE_OID, PEN.as_bytes())).await;
    shop.backing.follow(&product.says(2, 10, 1)).await;
    on_offer_becomes(&shop, product.id, 10).await;
    shelf_becomes(&shop, PEN, [10, 10, 0, 0]).await;
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sku_of_a_deleted_product_sells_as_what_its_seller_publishes_next_and_promises_stay_s1() {
    let seller = Uuid::nil();
    let (first, second) = (Told::by(seller, 100), Told::by(seller, 200));
    let shop = selling(&first).await;
    let (payer, holder, late) = (shop.buyer(), shop.buyer(), shop.buyer());
    shop.pay(&payer, buy(&payer, &[(PEN, 1)]).await).await;
    let held = buy(&holder, &[(PEN, 2)]).await;
    shop.until_booked(held.1["id"].as_str().unwrap(), "reserved").await;
    let (status, sale) =
        shop.operator().put(&format!("/internal/v1/sales/{}", Uuid::now_v7()), &pens(3)).await;
    assert_eq!((status, &sale["verified"]), (200, &json!(true)), "{sale}");
    shop.backing.follow(&first.says(9, 10, 1)).await;

    delete(&shop, first.id).await;
    assert_eq!(late.put("/api/v1/cart/lines/PEN", &json!({ "quantity": 1 })).await.0, 404, "nobody sells it");
    let mut told = second.says(2, 6, 1);
    told["variants"][0]["price"] = json!(700);
    shop.backing.follow(&told).await;
    on_offer_becomes(&shop, second.id, 6).await;
    becomes("on hand, allocated and shelved", [6 + 2 + 3, 3, 6 + 2], async || {
        shop.backing.stock_of(PEN).await
    })
    .await;
    shelf_becomes(&shop, PEN, [6 + 2 + 1, 6, 2, 1]).await;
    // Late news of the old product changes nothing, whatever its version.
    shop.backing.follow(&first.says(10, 99, 10)).await;
    delete(&shop, first.id).await;
    on_offer_becomes(&shop, second.id, 6).await;

    shop.pay(&holder, held).await;
    let wish = json!({ "currency": "EUR", "lines": [{ "sku": PEN, "quantity": 6, "unit_price": 700 }] });
    let (status, cart) = late.put("/api/v1/cart/lines/PEN", &json!({ "quantity": 6 })).await;
    assert_eq!((status, &cart["lines"][0]["title"]), (200, &json!("Product 200")), "{cart}");
    assert_eq!(check_out(&late, "six", &wish).await.0, 201);
    assert_eq!(check_out(&shop.buyer(), "more", &wish).await.0, 409);
}

/// The terms of a sale of this many pens.
fn pens(units: i64) -> Value {
    let mut terms = offer(units);
    terms["items"][0]["sku"] = json!(PEN);
    terms
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_draft_nor_what_somebody_else_deleted_keeps_a_sku_from_selling_s2() {
    let shop = with_pens(1).await;
    let (hostile, rightful) = (Told::by(Uuid::now_v7(), 300), Told::by(Uuid::now_v7(), 400));
    let mut draft = hostile.says(1, 0, 1);
    (draft["variants"][0]["sku"], draft["state"]) = (json!("GUESSED"), json!("draft"));
    shop.backing.follow(&draft).await;
    let (_, known) = shop.operator().get("/internal/v1/skus?sku=GUESSED").await;
    assert_eq!(known["unknown"], json!(["GUESSED"]), "a draft takes nothing");

    let mut published = hostile.says(2, 5, 1);
    published["variants"][0]["sku"] = json!("GUESSED");
    shop.backing.follow(&published).await;
    delete(&shop, hostile.id).await;
    let mut taken = rightful.says(2, 8, 1);
    taken["variants"][0]["sku"] = json!("GUESSED");
    shop.backing.follow(&taken).await;
    becomes("the rightful seller's units", json!([true, rightful.id, 8]), async || {
        let (_, known) = shop.operator().get("/internal/v1/skus?sku=GUESSED").await;
        let known = &known["skus"][0];
        json!([known["published"], known["product_id"], known["available"]])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_seller_promised_is_kept_apart_from_the_units_of_who_takes_the_sku_s2() {
    let (before, after) = (Told::by(Uuid::now_v7(), 500), Told::by(Uuid::now_v7(), 600));
    let shop = selling(&before).await;
    let holder = shop.buyer();
    let held = buy(&holder, &[(PEN, 4)]).await;
    shop.until_booked(held.1["id"].as_str().unwrap(), "reserved").await;
    // News of the new product overtakes the news that the old one has ended.
    shop.backing.follow(&after.says(2, 20, 1)).await;
    shop.backing.follow(&before.says(3, 10, 1)).await;
    becomes("what is left of the old product", ([4, 0, 4], json!(false)), async || {
        let (_, known) = shop.operator().get("/internal/v1/skus?sku=PEN").await;
        let mut stock = shop.backing.stock_of(PEN).await;
        stock[0] = stock[0].min(stock[2]); // what came off the shelf is nobody's
        (stock, known["skus"][0]["published"].clone())
    })
    .await;
    assert_eq!(shop.buyer().put("/api/v1/cart/lines/PEN", &json!({ "quantity": 1 })).await.0, 404);

    shop.pay(&holder, held).await;
    on_offer_becomes(&shop, after.id, 20).await;
    shelf_becomes(&shop, PEN, [24, 20, 0, 4]).await;
    assert_eq!(shop.backing.number("SELECT count(*) FROM sku_heirs").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seller_writes_what_is_on_hand_whatever_was_sold_before_s5() {
    let product = Told::by(Uuid::nil(), 700);
    let shop = selling(&product).await;
    let buyer = shop.buyer();
    shop.pay(&buyer, buy(&buyer, &[(PEN, 10)]).await).await;
    on_offer_becomes(&shop, product.id, 0).await;
    shop.backing.follow(&product.says(3, 10, 3)).await;
    on_offer_becomes(&shop, product.id, 10).await;
    shelf_becomes(&shop, PEN, [20, 10, 0, 10]).await;

    let other = shop.buyer();
    shop.pay(&other, buy(&other, &[(PEN, 4)]).await).await;
    let holder = shop.buyer();
    let held = buy(&holder, &[(PEN, 1)]).await;
    shop.until_booked(held.1["id"].as_str().unwrap(), "reserved").await;
    // The same news again, as after a restore of the topic, and an edit that counts nothing.
    for version in [3, 4] {
        shop.backing.follow(&product.says(version, 10, 3)).await;
        on_offer_becomes(&shop, product.id, 5).await;
    }
    shop.backing.follow(&product.says(5, 6, 5)).await;
    on_offer_becomes(&shop, product.id, 5).await;
    shop.backing.follow(&product.says(6, 9, 5)).await;
    on_offer_becomes(&shop, product.id, 8).await;
    shelf_becomes(&shop, PEN, [8 + 1 + 14, 8, 1, 14]).await;
}
