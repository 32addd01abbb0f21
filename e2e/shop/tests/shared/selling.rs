//! Rows 1, 2 and the marks of row 18: products, search, likes and the wishlist, in any shop.

use rocketmart_shop::{Shop, eventually, mug, unique};
use serde_json::{Value, json};

pub(crate) async fn sellers_register_and_manage_products(shop: &Shop) {
    let (seller, other, buyer) = (shop.seller().await, shop.seller().await, shop.buyer().await);
    let sku = unique("MUG");

    shop.post("/api/v1/products").by(&buyer).json(&mug(&sku, 12_900, 5)).await.refused(403, "forbidden");
    let created = shop.post("/api/v1/products").by(&seller).json(&mug(&sku, 12_900, 5)).await;
    let draft = created.expect(201);
    let path = format!("/api/v1/products/{}", draft["id"].as_str().unwrap());
    assert_eq!((&draft["state"], &draft["version"]), (&json!("draft"), &json!(1)));
    shop.get(&path).by(&buyer).await.refused(404, "product-unknown");

    let edit = json!({
        "description": "Holds 350 ml.",
        "variants": [{"sku": sku, "price": 11_900, "quantity": 7, "options": {"colour": "blue"}}]
    });
    let edited = shop.patch(&path).by(&seller).if_match(created.header("etag")).json(&edit).await.expect(200);
    assert_eq!(edited["description"], "Holds 350 ml.");
    assert_eq!(
        (&edited["variants"][0]["price"], &edited["variants"][0]["quantity"]),
        (&json!(11_900), &json!(7))
    );
    let late = shop.patch(&path).by(&seller).if_match(created.header("etag")).json(&edit).await;
    assert_eq!(late.status, 412, "an edit of a version that is no more: {}", late.text);

    shop.post(&format!("{path}/publish")).by(&seller).await.expect(200);
    let seen = shop.get(&path).await;
    assert_eq!(seen.expect(200)["title"], draft["title"], "everybody sees what is published");
    let theirs = shop.patch(&path).by(&other).if_match(seen.header("etag")).json(&json!({"title": "Mine"}));
    theirs.await.refused(404, "product-unknown");

    let own = shop.get("/api/v1/products?seller=me").by(&seller).await.expect(200);
    assert_eq!(own["data"].as_array().unwrap().len(), 1);
    shop.post(&format!("{path}/withdraw")).by(&seller).await.expect(200);
    shop.get(&path).by(&buyer).await.refused(404, "product-unknown");
}

pub(crate) async fn buyers_find_a_product_soon_after_it_changed(shop: &Shop) {
    let seller = shop.seller().await;
    let word = unique("x").replace('-', "");
    let mut product = mug(&unique("MUG"), 12_900, 5);
    product["title"] = json!(format!("찻잔 {word}"));
    let published = shop.publish(&seller, &product).await;

    let hits = async |query: &str| -> Vec<Value> {
        let found = shop.get(&format!("/api/v1/search?q={query}")).await;
        if found.status == 503 {
            return vec![]; // the index is catching up
        }
        found.expect(200)["data"].as_array().unwrap().clone()
    };
    let found = eventually("the new product is found by its word", async || hits(&word).await.pop()).await;
    assert_eq!(found["product_id"], published["id"]);
    assert_eq!(found["price_from"], 12_900);
    let prefix = &word[..12];
    assert_eq!(hits(&format!("찻잔%20{prefix}")).await.len(), 1, "by Korean and a prefix");

    let path = format!("/api/v1/products/{}", published["id"].as_str().unwrap());
    let etag = shop.get(&path).await.header("etag").to_owned();
    let renamed = unique("y").replace('-', "");
    shop.patch(&path).by(&seller).if_match(&etag).json(&json!({"title": renamed})).await.expect(200);
    eventually("the new title is found", async || hits(&renamed).await.pop()).await;
    assert!(hits(&word).await.is_empty(), "the old title is not found any more");

    shop.post(&format!("{path}/withdraw")).by(&seller).await.expect(200);
    eventually("what is withdrawn is not found", async || hits(&renamed).await.is_empty().then_some(()))
        .await;
}

pub(crate) async fn buyers_like_products_and_keep_a_wishlist(shop: &Shop) {
    let (seller, buyer, other) = (shop.seller().await, shop.buyer().await, shop.buyer().await);
    let product = shop.publish(&seller, &mug(&unique("MUG"), 12_900, 5)).await;
    let id = product["id"].as_str().unwrap();
    for list in ["likes", "wishlist"] {
        let (all, one) = (format!("/api/v1/{list}"), format!("/api/v1/{list}/{id}"));
        shop.put(&one).by(&buyer).await.expect(204);
        shop.put(&one).by(&buyer).await.expect(204);
        let marked = shop.get(&all).by(&buyer).await.expect(200);
        assert_eq!(marked["data"].as_array().unwrap().len(), 1, "{list}: marked twice is marked once");
        let theirs = shop.get(&all).by(&other).await.expect(200);
        assert!(theirs["data"].as_array().unwrap().is_empty(), "{list} is one's own");
        shop.delete(&one).by(&buyer).await.expect(204);
        let after = shop.get(&all).by(&buyer).await.expect(200);
        assert!(after["data"].as_array().unwrap().is_empty(), "{list}");
    }
}
