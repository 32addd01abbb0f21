//! Rows 7, 9 and 15: services fail independently. Each neighbour of the order service goes down in turn, the
//! real process with its workers. Buyers who are logged in keep buying. What they bought is paid and
//! delivered once the neighbour is back, or without it if it is not needed for that.
//!
//! These tests have their own stack and take turns with it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]

#[path = "../shared/outage.rs"]
mod outage;

use rocketmart_harness::stack::{Component, Stack};
use rocketmart_shop::{GOOD_CARD, Member, Place, Sale, Shop, eventually, stack};
use serde_json::{Value, json};

/// How many buyers go shopping while a neighbour is down.
const BUYERS: usize = 4;

/// What is bought while a neighbour is down, and by whom.
struct Shopping {
    shop: Shop,
    sale: Sale,
    buyers: Vec<Member>,
}

impl Shopping {
    /// Prepares everything beforehand: people, cards, addresses, a sale.
    async fn prepared(stack: &Stack) -> Self {
        let shop = Shop::at(Place::of(stack));
        let sale = shop.sale_of(u32::try_from(BUYERS).unwrap()).await;
        let mut buyers = Vec::new();
        for _ in 0..BUYERS {
            let buyer = shop.buyer().await;
            shop.card(&buyer, GOOD_CARD).await;
            shop.address(&buyer).await;
            // The order service has seen its token before.
            shop.get("/api/v1/orders").by(&buyer).await.expect(200);
            buyers.push(buyer);
        }
        Self { shop, sale, buyers }
    }

    /// Everybody buys, pays and looks at the order. Every answer is 2xx.
    async fn everybody_buys(&self) -> Vec<(Member, String)> {
        let mut orders = Vec::new();
        for buyer in &self.buyers {
            let order = self.shop.purchase(buyer, &self.sale).await.expect(201);
            self.shop.pay(buyer, &order, &json!({})).await.expect(202);
            let id = order["id"].as_str().unwrap().to_owned();
            self.shop.get(&format!("/api/v1/orders/{id}")).by(buyer).await.expect(200);
            orders.push((buyer.clone(), id));
        }
        orders
    }

    async fn until_all_are(&self, orders: &[(Member, String)], what: &str, is: fn(&Value) -> bool) {
        for (buyer, id) in orders {
            eventually(&format!("order {id} is {what}"), async || {
                let order = self.shop.get(&format!("/api/v1/orders/{id}")).by(buyer).await.expect(200);
                is(&order).then_some(())
            })
            .await;
        }
    }
}

fn paid(order: &Value) -> bool {
    order["payment"]["state"] == "succeeded"
}

fn delivered(order: &Value) -> bool {
    ["delivered", "completed"].iter().any(|state| order["state"] == *state)
}

/// The stack, with everything up, for one test at a time.
async fn turn() -> tokio::sync::MutexGuard<'static, Stack> {
    let shared = tokio::task::spawn_blocking(stack).await.unwrap().expect("a shop on loopback");
    let mut stack = shared.lock().await;
    for component in Component::ALL {
        if stack.pid(component, 0).is_none() {
            up(&mut stack, &[component]);
        }
    }
    stack
}

fn down(stack: &mut Stack, components: &[Component]) {
    for component in components {
        tokio::task::block_in_place(|| stack.stop(*component, 0)).expect("an orderly end");
    }
}

fn up(stack: &mut Stack, components: &[Component]) {
    tokio::task::block_in_place(|| {
        for component in components {
            stack.start(*component, 0)?;
        }
        stack.wait_until_ready(rocketmart_shop::PATIENCE)
    })
    .expect("it starts again");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_09_without_the_catalog_purchases_are_made_paid_and_delivered() {
    let mut stack = turn().await;
    let shopping = Shopping::prepared(&stack).await;
    down(&mut stack, &[Component::Catalog]);
    assert_eq!(shopping.shop.get("/api/v1/products").await.status, 503, "the catalog is down");
    let orders = shopping.everybody_buys().await;
    shopping.until_all_are(&orders, "delivered without the catalog", delivered).await;
    up(&mut stack, &[Component::Catalog]);
    shopping.shop.get("/api/v1/products").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_09_without_search_purchases_are_made_paid_and_delivered() {
    let mut stack = turn().await;
    let shopping = Shopping::prepared(&stack).await;
    down(&mut stack, &[Component::Search]);
    let orders = shopping.everybody_buys().await;
    shopping.until_all_are(&orders, "delivered without search", delivered).await;
    up(&mut stack, &[Component::Search]);
    let found = shopping.shop.get(&format!("/api/v1/search?q={}", shopping.sale.sku)).await.expect(200);
    assert_eq!(found["data"].as_array().unwrap().len(), 1, "the index is whole again from the topic alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_09_without_the_member_service_logged_in_buyers_go_on_buying() {
    let mut stack = turn().await;
    let shopping = Shopping::prepared(&stack).await;
    down(&mut stack, &[Component::Member]);
    assert_eq!(shopping.shop.log_in("ada@members.example", "whatever it is").await.status, 503);
    let orders = shopping.everybody_buys().await;
    shopping.until_all_are(&orders, "delivered without the member service", delivered).await;
    up(&mut stack, &[Component::Member]);
    shopping.shop.buyer().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_09_without_payment_purchases_are_accepted_and_paid_once_it_is_back() {
    let mut stack = turn().await;
    let shopping = Shopping::prepared(&stack).await;
    let payment = [Component::Payment, Component::PaymentWorker];
    down(&mut stack, &payment);
    let orders = shopping.everybody_buys().await;
    for (buyer, id) in &orders {
        let order = shopping.shop.get(&format!("/api/v1/orders/{id}")).by(buyer).await.expect(200);
        assert_eq!(order["payment"]["state"], "requested", "waits for the money: {order}");
    }
    up(&mut stack, &payment);
    shopping.until_all_are(&orders, "delivered", delivered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_09_without_delivery_purchases_are_paid_and_delivered_once_it_is_back() {
    let mut stack = turn().await;
    let shopping = Shopping::prepared(&stack).await;
    let delivery = [Component::Delivery, Component::DeliveryWorker];
    down(&mut stack, &delivery);
    let orders = shopping.everybody_buys().await;
    shopping.until_all_are(&orders, "paid without delivery", paid).await;
    up(&mut stack, &delivery);
    shopping.until_all_are(&orders, "delivered", delivered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_15_payments_outlive_an_outage_of_the_provider() {
    let stack = turn().await;
    outage::payments_outlive_an_outage_of_the_provider(&Shop::at(Place::of(&stack))).await;
}
