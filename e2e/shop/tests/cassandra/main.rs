//! Row 8: a whole shop whose catalog is on a real Cassandra node and has no SQL database at all.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]

#[path = "../shared/selling.rs"]
mod selling;

use anyhow::Result;
use rocketmart_harness::{
    backing::shared,
    programs,
    stack::{Component, Recipe},
};
use rocketmart_shop::{GOOD_CARD, Place, Shop};
use serde_json::json;

/// Nobody answers at this address.
const NO_DATABASE: &str = "postgres://nobody@127.0.0.1:1/none";

fn recipe() -> Result<Recipe> {
    let cassandra = shared::contact_point()?;
    Ok(Recipe::new(programs::beside_this_one("rocketmart")?)
        .env(Component::Catalog, "CATALOG_STORE", "cassandra")
        .env(Component::Catalog, "CASSANDRA_CONTACT_POINTS", cassandra)
        .env(Component::Catalog, "CASSANDRA_REPLICATION_FACTOR", "1")
        .env(Component::Catalog, "DATABASE_URL", NO_DATABASE)
        .env(Component::DeliveryWorker, "CARRIER_STEP_SECONDS", "1"))
}

#[tokio::test(flavor = "multi_thread")]
async fn row_08_a_shop_sells_and_delivers_with_its_catalog_on_cassandra_alone() {
    let stack = tokio::task::spawn_blocking(|| recipe()?.start()).await.unwrap().expect("a shop on loopback");
    let shop = Shop::at(Place::of(&stack));
    selling::sellers_register_and_manage_products(&shop).await;
    selling::buyers_find_a_product_soon_after_it_changed(&shop).await;
    selling::buyers_like_products_and_keep_a_wishlist(&shop).await;

    // The others sell what Cassandra tells them through Kafka.
    let (buyer, sale) = (shop.buyer().await, shop.sale_of(1).await);
    shop.card(&buyer, GOOD_CARD).await;
    shop.address(&buyer).await;
    shop.address(&buyer).await;
    let order = shop.purchase(&buyer, &sale).await.expect(201);
    shop.pay(&buyer, &order, &json!({})).await.expect(202);
    shop.order_in(&buyer, order["id"].as_str().unwrap(), &["delivered", "completed"]).await;
    tokio::task::spawn_blocking(move || drop(stack)).await.unwrap();
}
