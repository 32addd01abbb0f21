//! What is sold, and what a buyer needs to get it: a product, a card, an address.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Member, Shop, answer::text, eventually};

pub const GOOD_CARD: &str = "4242 4242 4242 4242";
/// The provider's card that the bank refuses.
pub const DECLINED_CARD: &str = "4000 0000 0000 0002";

/// A name that no other test uses.
pub fn unique(what: &str) -> String {
    format!("{what}-{}", Uuid::new_v4().simple())
}

/// A product with one variant.
pub fn mug(sku: &str, price: i64, quantity: u32) -> Value {
    json!({
        "title": format!("Mug {sku}"), "description": "Holds 300 ml.", "currency": "KRW",
        "categories": ["kitchen"], "tags": ["blue"], "pictures": ["https://img.example/mug.png"],
        "variants": [{"sku": sku, "price": price, "quantity": quantity, "options": {"colour": "blue"}}]
    })
}

impl Shop {
    /// Creates a product and publishes it.
    pub async fn publish(&self, seller: &Member, product: &Value) -> Value {
        let created = self.post("/api/v1/products").by(seller).json(product).await.expect(201);
        let path = format!("/api/v1/products/{}/publish", text(&created, "id"));
        self.post(&path).by(seller).await.expect(200)
    }

    /// Registers a card with the provider and its token with the shop; returns the id of the payment method.
    pub async fn card(&self, buyer: &Member, number: &str) -> String {
        let url = format!("{}/v1/tokens", self.place.provider);
        let card = self.outside(Method::POST, &url).json(&json!({"card_number": number})).await;
        let token = text(&card.json(), "token");
        let method = self
            .post("/api/v1/payment-methods")
            .by(buyer)
            .json(&json!({"provider_token": token, "label": "Visa"}))
            .await
            .expect(201);
        text(&method, "id")
    }

    /// Adds a delivery address and returns its id.
    pub async fn address(&self, buyer: &Member) -> String {
        let address = self.post("/api/v1/addresses").by(buyer).json(&home()).await.expect(201);
        text(&address, "id")
    }

    /// Waits until an order's payment has failed and the books say why. The buyer may then pay in another
    /// way.
    pub async fn failed_payment(&self, buyer: &Member, order: &Value) -> Value {
        let path = format!("/api/v1/orders/{}", text(order, "id"));
        eventually("the payment has failed", async || {
            let order = self.get(&path).by(buyer).await.expect(200);
            (order["payment"]["state"] == "failed" && order["payment"]["reason"].is_string()).then_some(order)
        })
        .await
    }

    /// Waits until an order is in one of these states; returns it as its buyer sees it.
    pub async fn order_in(&self, buyer: &Member, order: &str, states: &[&str]) -> Value {
        eventually(&format!("order {order} is {}", states.join(" or ")), async || {
            let order = self.get(&format!("/api/v1/orders/{order}")).by(buyer).await.expect(200);
            states.iter().any(|state| order["state"] == *state).then_some(order)
        })
        .await
    }
}

/// An address in Seoul.
pub(crate) fn home() -> Value {
    json!({
        "recipient": "홍길동", "line1": "세종대로 110", "city": "서울", "postal_code": "04524", "country": "KR",
        "phone": "+82 2-120-0000"
    })
}
