//! Row 15: the payment provider does not answer for a while. No other test may use it meanwhile.

use std::time::Duration;

use reqwest::Method;
use rocketmart_shop::{GOOD_CARD, Shop, eventually};
use serde_json::json;

/// Long enough for the first tries to fail.
const OUTAGE: Duration = Duration::from_secs(2);

pub(crate) async fn payments_outlive_an_outage_of_the_provider(shop: &Shop) {
    let buyer = shop.buyer().await;
    let sale = shop.sale_of(1).await;
    shop.card(&buyer, GOOD_CARD).await;
    shop.address(&buyer).await;
    let order = shop.purchase(&buyer, &sale).await.expect(201);
    let control = format!("{}/control", shop.place.provider);
    let outage = async |out: bool| {
        let answer = shop.outside(Method::PUT, &control).json(&json!({"outage": out})).await;
        assert!((200..300).contains(&answer.status), "{}", answer.text);
    };
    outage(true).await;
    shop.pay(&buyer, &order, &json!({})).await.expect(202);
    tokio::time::sleep(OUTAGE).await;
    let id = order["id"].as_str().expect("an id");
    let waiting = shop.get(&format!("/api/v1/orders/{id}")).by(&buyer).await.expect(200);
    outage(false).await;
    assert_eq!(waiting["payment"]["state"], "requested", "an outage is not a refusal");
    eventually("the payment succeeds", async || {
        let order = shop.get(&format!("/api/v1/orders/{id}")).by(&buyer).await.expect(200);
        (order["payment"]["state"] == "succeeded").then_some(())
    })
    .await;
}
