//! Likes and the wishlist.

use serde_json::Value;

use crate::shop::{Shop, mug};

async fn a_like_counts_once_and_can_be_taken_back(shop: Shop) {
    let (seller, buyer) = (shop.seller(), shop.buyer());
    let id = seller.published(&mug()).await.id();
    let (product, like) = (format!("/api/v1/products/{id}"), format!("/api/v1/likes/{id}"));
    let version = seller.get(&product).await.etag;

    buyer.put(&like).await.expect(204);
    buyer.put(&like).await.expect(204);
    seller.put(&like).await.expect(204);
    let liked = buyer.get(&product).await.expect(200);
    assert_eq!(liked.body["likes"], 2);
    assert_eq!(liked.etag, version, "a like is no new version");

    buyer.delete(&like, None).await.expect(204);
    buyer.delete(&like, None).await.expect(204);
    assert_eq!(buyer.get(&product).await.body["likes"], 1);
    assert!(buyer.get("/api/v1/likes").await.each("product_id").is_empty());
}

async fn the_wishlist_is_ones_own_latest_first_and_in_pages(shop: Shop) {
    let (seller, buyer, other) = (shop.seller(), shop.buyer(), shop.buyer());
    let mut wished = Vec::new();
    for _ in 0..3 {
        let id = seller.published(&mug()).await.id();
        buyer.put(&format!("/api/v1/wishlist/{id}")).await.expect(204);
        wished.insert(0, Value::from(id));
    }
    let first = buyer.get("/api/v1/wishlist?limit=2").await.expect(200);
    assert_eq!(first.each("product_id"), wished[..2]);
    assert_eq!(first.body["data"][0]["product"]["title"], "Blue mug");
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = buyer.get(&format!("/api/v1/wishlist?limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!(second.each("product_id"), wished[2..]);
    assert!(other.get("/api/v1/wishlist").await.each("product_id").is_empty());
    assert!(buyer.get("/api/v1/likes").await.each("product_id").is_empty(), "a wish is no like");
    shop.stranger().get("/api/v1/wishlist").await.refused(401, "unauthenticated");
}

async fn only_published_products_can_be_noted_and_withdrawn_ones_lose_their_content(shop: Shop) {
    let (seller, buyer) = (shop.seller(), shop.buyer());
    let draft = seller.create(&mug()).await.expect(201);
    buyer.put(&format!("/api/v1/wishlist/{}", draft.id())).await.refused(404, "product-unknown");
    buyer.put(&format!("/api/v1/likes/{}", uuid::Uuid::now_v7())).await.refused(404, "product-unknown");

    let product = seller.published(&mug()).await;
    buyer.put(&format!("/api/v1/wishlist/{}", product.id())).await.expect(204);
    let withdrawn = seller.post(&format!("/api/v1/products/{}/withdraw", product.id())).await.expect(200);
    let list = buyer.get("/api/v1/wishlist").await.expect(200);
    assert_eq!(list.each("product"), [Value::Null]);

    seller.delete(&format!("/api/v1/products/{}", product.id()), Some(&withdrawn.etag)).await.expect(204);
    assert!(buyer.get("/api/v1/wishlist").await.each("product_id").is_empty());
}

crate::on_both_stores![
    a_like_counts_once_and_can_be_taken_back,
    the_wishlist_is_ones_own_latest_first_and_in_pages,
    only_published_products_can_be_noted_and_withdrawn_ones_lose_their_content,
];
