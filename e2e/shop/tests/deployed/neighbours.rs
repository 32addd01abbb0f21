//! Row 9: every neighbour of the order service stops at once, by its number of replicas in the Shop.

use rocketmart_shop::{GOOD_CARD, Kubectl, Shop, eventually};
use serde_json::{Value, json};

use crate::{TURN, declared};

const NEIGHBOURS: [&str; 7] =
    ["catalog", "delivery", "delivery-worker", "member", "payment", "payment-worker", "search"];

/// The stopped neighbours; they start again in the end, however the test ends.
struct Stopped {
    kubectl: Kubectl,
    shop: String,
    /// How they ran before.
    before: Value,
}

impl Stopped {
    fn all(kubectl: &Kubectl, shop: &str) -> Self {
        let before = kubectl.get("shop", shop)["spec"]["components"].clone();
        let stopped = Self { kubectl: kubectl.clone(), shop: shop.to_owned(), before };
        stopped.run_each(|_| json!({"replicas": 0, "autoscaling": null}));
        let theirs = format!("app.kubernetes.io/component in ({})", NEIGHBOURS.join(","));
        let gone = ["wait", "--for=delete", "pods", "--selector", &theirs, "--timeout=90s"];
        kubectl.run(&gone, "");
        stopped
    }

    /// Sets how each of them is to run.
    fn run_each(&self, how: impl Fn(&str) -> Value) {
        let components: serde_json::Map<_, _> =
            NEIGHBOURS.iter().map(|name| ((*name).to_owned(), how(name))).collect();
        self.kubectl.patch("shop", &self.shop, &json!({"spec": {"components": components}}));
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.run_each(|name| {
            let mut before = self.before[name].clone();
            if before.is_object() && before["replicas"].is_null() {
                before["replicas"] = Value::Null;
            }
            before
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_09_with_every_neighbour_stopped_purchases_are_made_and_delivered_once_they_are_back() {
    let _turn = TURN.lock().await;
    let shop = Shop::open().await;
    let (kubectl, name) = declared(&shop);
    let (first, second) = (shop.buyer().await, shop.buyer().await);
    let sale = shop.sale_of(2).await;
    for buyer in [&first, &second] {
        shop.card(buyer, GOOD_CARD).await;
        shop.address(buyer).await;
        // The order service has seen their tokens before.
        shop.get("/api/v1/orders").by(buyer).await.expect(200);
    }

    let stopped = tokio::task::spawn_blocking(move || Stopped::all(&kubectl, &name)).await.unwrap();
    for path in ["/api/v1/products", "/api/v1/search"] {
        assert_eq!(shop.get(path).await.status, 503, "{path} is served by nobody");
    }
    for path in ["/api/v1/me", "/api/v1/payment-methods", "/api/v1/addresses"] {
        assert_eq!(shop.get(path).by(&first).await.status, 503, "{path} is served by nobody");
    }
    let mut orders = Vec::new();
    for buyer in [&first, &second] {
        let order = shop.purchase(buyer, &sale).await.expect(201);
        shop.pay(buyer, &order, &json!({})).await.expect(202);
        orders.push((buyer, order["id"].as_str().unwrap().to_owned()));
    }
    for (buyer, order) in &orders {
        let waiting = shop.get(&format!("/api/v1/orders/{order}")).by(buyer).await.expect(200);
        assert_eq!(waiting["payment"]["state"], "requested", "it waits for the money: {waiting}");
    }

    tokio::task::spawn_blocking(move || drop(stopped)).await.unwrap();
    for (buyer, order) in &orders {
        shop.order_in(buyer, order, &["delivered", "completed"]).await;
    }
    shop.get("/api/v1/me").by(&first).await.expect(200);
    eventually("the catalog lists its products, and search finds this one", async || {
        let listed = shop.get("/api/v1/products").await.status == 200;
        let found = shop.get(&format!("/api/v1/search?q={}", sale.sku)).await;
        (listed && found.status == 200 && found.json()["data"][0].is_object()).then_some(())
    })
    .await;
}
