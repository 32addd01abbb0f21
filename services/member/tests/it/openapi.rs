use serde_json::Value;

use crate::shop::Shop;

/// The description is part of the contract; review the difference, then accept it with
/// `cargo insta accept` or `INSTA_UPDATE=always`.
#[test]
fn the_description_changes_only_on_purpose() {
    insta::assert_json_snapshot!(rocketmart_member::api::openapi());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_served() {
    let shop = Shop::open().await;
    let served: Value =
        reqwest::get(format!("{}/openapi.json", shop.api)).await.unwrap().json().await.unwrap();
    assert_eq!(served["paths"].as_object().unwrap().len(), 12);
    assert_eq!(served["components"]["securitySchemes"]["bearer"]["bearerFormat"], "JWT");
}
