//! Row 21: a shop's entrance moves from its Ingress to a Gateway and back while a sale is open.

use rocketmart_shop::{Kubectl, Shop, eventually};
use serde_json::{Value, json};

use crate::{TURN, declared, rush::Rush};

/// The Gateway of the node's Contour.
fn gateway() -> Value {
    json!({"parentRefs": [{"name": "public", "namespace": "projectcontour"}]})
}

/// A shop whose entrance was moved; it gets its Ingress back, however the test ends.
struct Moved {
    kubectl: Kubectl,
    shop: String,
    /// The class of its Ingress.
    class: Value,
}

impl Moved {
    fn to_the_gateway(&self) {
        self.declare(&json!({"gateway": gateway(), "ingressClassName": null}));
    }

    fn back(&self) {
        self.declare(&json!({"gateway": null, "ingressClassName": self.class}));
    }

    fn declare(&self, entrance: &Value) {
        self.kubectl.patch("shop", &self.shop, &json!({"spec": entrance}));
    }

    /// Which of the two leads buyers to the shop.
    fn leading(&self) -> Vec<String> {
        let listed = self.kubectl.run(&["get", "ingresses,httproutes", "--output=name"], "");
        listed.lines().filter(|line| line.ends_with(&format!("/{}", self.shop))).map(str::to_owned).collect()
    }

    fn is_ready(&self) -> bool {
        let shop = self.kubectl.get("shop", &self.shop);
        let conditions = shop["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let current = |condition: &Value| condition["observedGeneration"] == shop["metadata"]["generation"];
        conditions.iter().any(|it| it["type"] == "Ready" && it["status"] == "True" && current(it))
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        self.back();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_21_a_shop_is_moved_to_a_gateway_and_back_in_an_open_sale_and_nobody_is_turned_away() {
    let _turn = TURN.lock().await;
    let shop = Shop::open().await;
    let (kubectl, name) = declared(&shop);
    let class = kubectl.get("shop", &name)["spec"]["ingressClassName"].clone();
    let moved = Moved { kubectl, shop: name.clone(), class };
    let becomes = async |what: &str, leads: &str| {
        eventually(what, async || (moved.leading() == [leads.to_owned()] && moved.is_ready()).then_some(()))
            .await;
    };
    let rush = Rush::start(&shop).await;
    moved.to_the_gateway();
    becomes(
        "the Gateway leads buyers to the shop, alone",
        &format!("httproute.gateway.networking.k8s.io/{name}"),
    )
    .await;
    // A path for every rule of the route.
    for path in ["/api/v1/products", "/api/v1/search", "/api/v1/sales"] {
        shop.get(path).await.expect(200);
    }
    let buyer = shop.buyer().await;
    for path in ["/api/v1/me", "/api/v1/payment-methods", "/api/v1/addresses", "/api/v1/orders"] {
        shop.get(path).by(&buyer).await.expect(200);
    }
    moved.back();
    becomes("the Ingress does again", &format!("ingress.networking.k8s.io/{name}")).await;
    rush.end(&shop).await;
}
