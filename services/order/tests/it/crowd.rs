//! A crowd that buys out a sale and pays for it, while Redis gets into trouble.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocketmart_contracts::event::{Payload as _, PaymentRequested, RefundRequested};
use rocketmart_stock::SaleId;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::shop::{Caller, Shop, eventually, offer};

/// The idempotency key of every purchase.
pub const KEY: &str = r#"the-"only"-key"#;

/// Units of the sale. A buyer whose payment was lost on its way does not ask again: the unit comes back
/// soon.
pub const UNITS: i64 = 60;
const PAYMENT_SECONDS: u32 = 3;
/// How many buyers there are at once.
const BUYERS: usize = 4;

/// The orders that buyers were given, by id.
type Orders = Arc<Mutex<HashMap<String, Value>>>;

pub struct Crowd {
    pub sale: Uuid,
    shop: Arc<Shop>,
    buyers: Vec<JoinHandle<Vec<(Caller, Value)>>>,
    payer: JoinHandle<()>,
    stop_buying: CancellationToken,
    stop_paying: CancellationToken,
}

impl Crowd {
    /// Opens a sale and lets everybody buy.
    pub async fn gather(shop: &Arc<Shop>) -> Self {
        let mut terms = offer(UNITS);
        terms["payment_seconds"] = json!(PAYMENT_SECONDS);
        let sale = shop.sale(terms).await;
        let orders = Orders::default();
        let (stop_buying, stop_paying) = (CancellationToken::new(), CancellationToken::new());
        let payer = tokio::spawn(pay_everybody(shop.clone(), orders.clone(), stop_paying.clone()));
        let buyers = (0..BUYERS)
            .map(|_| tokio::spawn(buy(shop.clone(), sale, orders.clone(), stop_buying.clone())))
            .collect();
        Self { sale, shop: shop.clone(), buyers, payer, stop_buying, stop_paying }
    }

    pub async fn until_booked(&self, orders: i64) {
        let count = "SELECT count(*) FROM orders";
        eventually("some are booked", async || self.shop.backing.number(count).await >= orders).await;
    }

    /// Waits until the books say that all is sold; then nobody buys any more. Returns the buyers with the
    /// orders they were given.
    pub async fn until_all_is_sold(&mut self) -> Vec<(Caller, Value)> {
        let sold = [UNITS, 0, 0, UNITS];
        eventually("everything is sold", async || self.shop.backing.ledger().await == sold).await;
        self.stop_buying.cancel();
        let mut served = Vec::new();
        for buyer in self.buyers.drain(..) {
            served.extend(buyer.await.unwrap());
        }
        // I1, I2: neither book sold a unit twice.
        eventually("Redis has it too", async || {
            let counters = self.shop.backing.stock.counters(SaleId(self.sale)).await.unwrap().unwrap();
            let mug = &counters.items[0];
            [mug.preloaded, mug.remaining, mug.reserved, mug.sold].map(i64::from) == sold
        })
        .await;
        served
    }

    pub async fn leave(self) {
        self.stop_paying.cancel();
        self.payer.await.unwrap();
    }
}

/// Pays every order that needs paying, once, and gives back what came too late.
async fn pay_everybody(shop: Arc<Shop>, orders: Orders, stop: CancellationToken) {
    let (mut paid, mut given_back) = (HashSet::new(), HashSet::new());
    while !stop.is_cancelled() {
        let known: Vec<_> =
            orders.lock().unwrap().iter().map(|(id, order)| (id.clone(), order.clone())).collect();
        for (id, order) in known {
            if !paid.contains(&id) && !shop.told.of(PaymentRequested::TYPE, &id).is_empty() {
                shop.payment_succeeds(&order, Uuid::now_v7()).await;
                paid.insert(id.clone());
            }
            for asked in shop.told.of(RefundRequested::TYPE, &id) {
                if given_back.insert(id.clone()) {
                    shop.gives_back(&asked).await;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One buyer after another wants a mug and pays for it. Returns the buyers with the orders they got. A
/// buyer who was told that the outcome is unknown does not ask again.
async fn buy(shop: Arc<Shop>, sale: Uuid, orders: Orders, stop: CancellationToken) -> Vec<(Caller, Value)> {
    let mut served = Vec::new();
    while !stop.is_cancelled() {
        let buyer = shop.buyer();
        let (status, order) = buyer.purchase(sale, 1, KEY).await;
        if status != 201 {
            let code = order["code"].as_str().unwrap_or_default();
            let expected = ["sold-out", "sale-paused", "stock-unavailable", "outcome-unknown"];
            assert!(expected.contains(&code), "{status}: {order}");
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        let id = order["id"].as_str().unwrap().to_owned();
        orders.lock().unwrap().insert(id.clone(), order.clone());
        buyer.post(&format!("/api/v1/orders/{id}/payment"), &json!({})).await;
        served.push((buyer, order));
    }
    served
}
