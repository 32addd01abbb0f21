//! A buyer's cart: filled, changed, handed over after log-in, always at current prices.

use reqwest::Method;
use serde_json::{Value, json};

use crate::shop::bad_tokens;
use crate::shop::{Caller, MUG, PRICE, Shop, product, supply};

const PEN: &str = "PEN";

/// The catalog's event for a one-SKU product at another price.
fn at_price(sku: &str, price: i64, version: i64) -> Value {
    let mut changed = product(sku, 100, version);
    changed["variants"][0]["price"] = json!(price);
    changed
}

async fn put(buyer: &Caller, sku: &str, quantity: i64) -> (u16, Value) {
    buyer.put(&format!("/api/v1/cart/lines/{sku}"), &json!({ "quantity": quantity })).await
}

async fn merge(buyer: &Caller, key: &str, lines: &Value) -> (u16, Value) {
    buyer.call(Method::POST, "/api/v1/cart/merge", Some(&json!({ "lines": lines })), Some(key)).await
}

/// SKUs and quantities.
fn held(cart: &Value) -> Vec<(&str, i64)> {
    let lines = cart["lines"].as_array().unwrap().iter();
    lines.map(|line| (line["sku"].as_str().unwrap(), line["quantity"].as_i64().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_is_filled_changed_and_emptied_by_its_buyer_alone() {
    let shop = Shop::with_api_only().await;
    supply(&shop.backing.pool, PEN, 5).await;
    let (buyer, other) = (shop.buyer(), shop.buyer());
    assert_eq!(
        buyer.get("/api/v1/cart").await,
        (200, json!({ "lines": [], "totals": [], "price_changed": false }))
    );
    assert_eq!(put(&buyer, MUG, 2).await.0, 200);
    let (status, cart) = put(&buyer, PEN, 3).await;
    assert_eq!((status, held(&cart)), (200, vec![(MUG, 2), (PEN, 3)]), "{cart}");
    assert_eq!(cart["totals"], json!([{ "currency": "EUR", "amount": 5 * PRICE }]));
    assert_eq!(
        (&cart["lines"][0]["title"], &cart["lines"][0]["unit_price"]),
        (&json!("A mug"), &json!(PRICE))
    );
    let (_, cart) = put(&buyer, MUG, 7).await;
    assert_eq!(held(&cart), [(MUG, 7), (PEN, 3)], "it is changed where it is");
    assert_eq!(held(&other.get("/api/v1/cart").await.1), [], "a cart is its buyer's own");

    let remove =
        async |buyer: &Caller| buyer.call(Method::DELETE, "/api/v1/cart/lines/MUG", None, None).await;
    let (status, unknown) = remove(&other).await;
    assert_eq!((status, unknown["code"].as_str()), (404, Some("cart-line-unknown")));
    assert_eq!(remove(&buyer).await.0, 204);
    assert_eq!(remove(&buyer).await.0, 404);
    assert_eq!(held(&buyer.get("/api/v1/cart").await.1), [(PEN, 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_that_changed_since_a_line_was_chosen_is_pointed_out_until_it_is_chosen_again() {
    let shop = Shop::with_api_only().await;
    let buyer = shop.buyer();
    put(&buyer, MUG, 2).await;
    shop.backing.follow(&at_price(MUG, 1200, 2)).await;
    let (_, cart) = buyer.get("/api/v1/cart").await;
    let line = &cart["lines"][0];
    assert_eq!((&cart["price_changed"], &line["price_changed"]), (&json!(true), &json!(true)), "{cart}");
    assert_eq!((&line["unit_price"], &line["seen"]["unit_price"]), (&json!(1200), &json!(PRICE)));
    assert_eq!(cart["totals"][0]["amount"], 2400, "it is counted as it is now");
    let (_, cart) = put(&buyer, MUG, 2).await;
    assert_eq!((&cart["price_changed"], cart["lines"][0].get("seen")), (&json!(false), None), "{cart}");

    let mut withdrawn = at_price(MUG, 1200, 3);
    withdrawn["state"] = json!("withdrawn");
    shop.backing.follow(&withdrawn).await;
    let (_, cart) = buyer.get("/api/v1/cart").await;
    assert_eq!(cart["lines"][0]["available"], 0, "{cart}");
    let (status, unknown) = put(&buyer, MUG, 1).await;
    assert_eq!((status, unknown["code"].as_str()), (404, Some("sku-unknown")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_lines_add_up_with_the_members_once_and_only_so_far() {
    let shop = Shop::with_api_only().await;
    supply(&shop.backing.pool, PEN, 5).await;
    let buyer = shop.buyer();
    put(&buyer, MUG, 2).await;
    let guest = json!([
        { "sku": MUG, "quantity": 3, "unit_price": 1400 },
        { "sku": PEN, "quantity": 999 },
        { "sku": "GONE", "quantity": 1 },
    ]);
    for _ in 0..2 {
        let (status, merged) = merge(&buyer, "after-log-in", &guest).await;
        assert_eq!((status, held(&merged["cart"])), (200, vec![(MUG, 5), (PEN, 999)]), "{merged}");
        assert_eq!((&merged["left_out"], &merged["reduced"]), (&json!(["GONE"]), &json!([])));
        assert_eq!(merged["cart"]["lines"][0]["seen"]["unit_price"], 1400, "what the guest saw: {merged}");
    }
    let (status, reused) = merge(&buyer, "after-log-in", &json!([{ "sku": MUG, "quantity": 3 }])).await;
    assert_eq!((status, reused["code"].as_str()), (422, Some("idempotency-key-reused")));
    let (_, merged) = merge(&buyer, "again", &json!([{ "sku": PEN, "quantity": 1 }])).await;
    assert_eq!((held(&merged["cart"])[1], &merged["reduced"]), ((PEN, 999), &json!([PEN])), "{merged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_cart_takes_nothing_new() {
    let shop = Shop::with_api_only().await;
    let buyer = shop.buyer();
    let names: Vec<String> = (0..100).map(|n| format!("SKU-{n:02}")).collect();
    for name in &names {
        supply(&shop.backing.pool, name, 1).await;
    }
    let lines: Vec<Value> = names.iter().map(|name| json!({ "sku": name, "quantity": 1 })).collect();
    assert_eq!(merge(&buyer, "all", &json!(lines)).await.0, 200);
    let (status, full) = put(&buyer, MUG, 1).await;
    assert_eq!((status, full["code"].as_str(), &full["limit"]), (409, Some("cart-full"), &json!(100)));
    assert_eq!(put(&buyer, "SKU-07", 2).await.0, 200, "what it has may change");
    let (_, merged) = merge(&buyer, "more", &json!([{ "sku": MUG, "quantity": 1 }])).await;
    assert_eq!(merged["left_out"], json!([MUG]), "{merged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_rule_of_the_cart_is_named() {
    let shop = Shop::with_api_only().await;
    let buyer = shop.buyer();
    let line = |sku: &str, quantity: i64| json!({ "sku": sku, "quantity": quantity });
    for quantity in [0, -1, 1000] {
        let (status, answer) = put(&buyer, MUG, quantity).await;
        assert_eq!((status, &answer["errors"][0]["field"]), (422, &json!("quantity")), "{answer}");
    }
    for sku in ["GONE", "%00", "%F0%9F%9A%80"] {
        let (status, answer) = put(&buyer, sku, 1).await;
        assert_eq!((status, answer["code"].as_str()), (404, Some("sku-unknown")), "{sku}");
    }
    for (lines, field, rule) in [
        (json!([]), "lines", "length"),
        (json!([line(MUG, 1), line(MUG, 1)]), "lines[1].sku", "unique"),
        (json!([line("", 1)]), "lines[0].sku", "format"),
        (json!([line(MUG, 0)]), "lines[0].quantity", "range"),
        (json!([{ "sku": MUG, "quantity": 1, "unit_price": -1 }]), "lines[0].unit_price", "range"),
    ] {
        let (status, answer) = merge(&buyer, "bad", &lines).await;
        let named = (&answer["errors"][0]["field"], &answer["errors"][0]["rule"]);
        assert_eq!((status, named), (422, (&json!(field), &json!(rule))), "{answer}");
    }
    for token in bad_tokens() {
        let forger = Caller { token, ..buyer.clone() };
        assert_eq!(forger.get("/api/v1/cart").await.0, 401);
        assert_eq!(put(&forger, MUG, 1).await.0, 401);
    }
}
