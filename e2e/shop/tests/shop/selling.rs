//! Rows 1, 2 and the marks of row 18, with the catalog in its default store.

#[path = "../shared/selling.rs"]
mod shared;

use rocketmart_shop::Shop;

#[tokio::test(flavor = "multi_thread")]
async fn row_01_sellers_register_and_manage_products() {
    shared::sellers_register_and_manage_products(&Shop::open().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_02_buyers_find_a_product_soon_after_it_changed() {
    shared::buyers_find_a_product_soon_after_it_changed(&Shop::open().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_18_buyers_like_products_and_keep_a_wishlist() {
    shared::buyers_like_products_and_keep_a_wishlist(&Shop::open().await).await;
}
