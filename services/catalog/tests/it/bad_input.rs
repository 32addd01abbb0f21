//! Whatever is wrong with a request, the answer names the field and the rule that it breaks.

use serde_json::{Value, json};

use crate::shop::{Shop, mug, sku, variant};

fn with(pointer: &str, value: Value) -> Value {
    let mut product = mug();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = product.pointer_mut(parent).unwrap();
    match name.parse::<usize>() {
        Ok(index) => parent[index] = value,
        Err(_) => parent[name] = value,
    }
    product
}

fn without(name: &str) -> Value {
    let mut product = mug();
    product.as_object_mut().unwrap().remove(name);
    product
}

async fn a_bad_product_names_field_and_rule(shop: Shop) {
    let seller = shop.seller();
    let twice = sku();
    let table = [
        (with("/title", json!("")), "title", "min-length"),
        (with("/title", json!("x".repeat(10_240))), "title", "max-length"),
        (with("/title", json!(7)), "title", "type"),
        (with("/title", Value::Null), "title", "type"),
        (without("title"), "title", "required"),
        (with("/colour", json!("blue")), "colour", "unknown"),
        (with("/currency", json!("won")), "currency", "iso-4217"),
        (with("/currency", json!("KWR")), "currency", "iso-4217"),
        (with("/currency", json!("XXX")), "currency", "iso-4217"),
        (with("/categories", json!(["카페", "\u{110f}\u{1161}\u{1111}\u{1166}"])), "categories[1]", "unique"),
        (with("/pictures", json!(["not a url"])), "pictures[0]", "url"),
        (with("/pictures", json!(["https://a/\0"])), "pictures[0]", "no-control-characters"),
        (with("/pictures", json!(["https://a/%00"])), "pictures[0]", "no-control-characters"),
        (with("/pictures", json!(["https://a/\u{202e}"])), "pictures[0]", "no-bidi-controls"),
        (with("/pictures", json!(["https://a/%E2%80%AE"])), "pictures[0]", "no-bidi-controls"),
        (with("/pictures", json!(["https://me:secret@img.example/"])), "pictures[0]", "url"),
        (with("/pictures", json!(["https:///a.png"])), "pictures[0]", "url"),
        (with("/pictures", json!([format!("https://a/{}", "x".repeat(2_048))])), "pictures[0]", "max-length"),
        (with("/pictures", json!(["javascript:alert(1)"])), "pictures[0]", "url"),
        (with("/variants", json!([])), "variants", "min-items"),
        (with("/variants", json!([variant(&twice, 1), variant(&twice, 1)])), "variants[1].sku", "unique"),
        (with("/variants/0/sku", json!("no spaces please")), "variants[0].sku", "pattern"),
        (with("/variants/0/price", json!(-1)), "variants[0].price", "range"),
        (with("/variants/0/price", json!(1.5)), "variants[0].price", "type"),
        (with("/variants/0/price", json!("100")), "variants[0].price", "type"),
        (with("/variants/0/quantity", json!(-1)), "variants[0].quantity", "range"),
        (with("/variants/0/weight", json!(1)), "variants[0].weight", "unknown"),
    ];
    for (product, field, rule) in table {
        let refused = seller.create(&product).await.refused(422, "validation-failed");
        assert_eq!(
            (&refused.body["errors"][0]["field"], &refused.body["errors"][0]["rule"]),
            (&json!(field), &json!(rule)),
            "{:#}",
            refused.body
        );
    }
    assert!(seller.get("/api/v1/products?seller=me").await.each("id").is_empty(), "nothing was created");
}

async fn a_bad_edit_names_field_and_rule(shop: Shop) {
    let seller = shop.seller();
    let created = seller.create(&mug()).await.expect(201);
    for (edit, field, rule) in [
        (json!({ "title": " " }), "title", "min-length"),
        (json!({ "state": "published" }), "state", "unknown"),
        (json!({ "variants": [variant("A", -5)] }), "variants[0].price", "range"),
        (json!({ "tags": "blue" }), "tags", "type"),
        (json!({ "currency": "USD" }), "currency", "prices-anew"),
        (json!({ "currency": "KWR", "variants": [variant("A", 5)] }), "currency", "iso-4217"),
    ] {
        let refused =
            seller.edit(&created.id(), &created.etag, &edit).await.refused(422, "validation-failed");
        assert_eq!(
            (&refused.body["errors"][0]["field"], &refused.body["errors"][0]["rule"]),
            (&json!(field), &json!(rule)),
            "{:#}",
            refused.body
        );
    }
    let unchanged = seller.edit(&created.id(), &created.etag, &json!({})).await.expect(200);
    assert_eq!(unchanged.body, created.body);
}

async fn bad_paths_and_queries_are_refused(shop: Shop) {
    let seller = shop.seller();
    seller.get("/api/v1/products/not-an-id").await.refused(400, "path-invalid");
    seller.get(&format!("/api/v1/products/{}", uuid::Uuid::nil())).await.refused(404, "product-unknown");
    seller.get("/api/v1/products?limit=0").await.refused(422, "validation-failed");
    seller.get("/api/v1/products?limit=101").await.refused(422, "validation-failed");
    seller.get("/api/v1/products?cursor=x").await.refused(400, "cursor-invalid");
    seller.get("/api/v1/products?page=2").await.refused(400, "query-invalid");
    seller.get("/api/v1/products?seller=you").await.refused(422, "validation-failed");
}

crate::on_both_stores![
    a_bad_product_names_field_and_rule,
    a_bad_edit_names_field_and_rule,
    bad_paths_and_queries_are_refused,
];
