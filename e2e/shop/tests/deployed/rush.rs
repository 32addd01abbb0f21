//! Buyers who buy one unit after the other while something is done to the shop. Each purchase is repeated
//! under its key until it is answered, as a shopper's program would.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rocketmart_shop::{Member, Offer, PATIENCE, Sale, Shop, Units, unique};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

const BUYERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(25);
/// Between tries of the same purchase.
const AGAIN: Duration = Duration::from_millis(50);
/// More than they can buy.
const UNITS: u32 = 100_000;

/// What may be asked again: nobody behind the entrance, too busy, or too late.
const ASK_AGAIN: [u16; 4] = [429, 502, 503, 504];

/// Buyers at work.
pub(crate) struct Rush {
    sale: Sale,
    over: Arc<AtomicBool>,
    buyers: Vec<JoinHandle<Bought>>,
}

/// Orders that were answered 201, and how many answers were none.
#[derive(Default)]
struct Bought {
    orders: Vec<String>,
    tries_in_vain: u32,
}

impl Rush {
    /// Opens a sale and lets them in.
    pub(crate) async fn start(shop: &Shop) -> Self {
        let offer = |sku: &str| Offer {
            per_buyer_limit: UNITS,
            // Nobody pays, and nothing is to come back before the books are looked at.
            payment_seconds: 600,
            ..Offer::of(sku, UNITS)
        };
        let sale = shop.sale_on(offer).await;
        let over = Arc::new(AtomicBool::new(false));
        let mut buyers = Vec::new();
        for _ in 0..BUYERS {
            let buyer = shop.buyer().await;
            buyers.push(tokio::spawn(buy(shop.clone(), sale.clone(), buyer, over.clone())));
        }
        Self { sale, over, buyers }
    }

    /// Calls them off. Every purchase has been answered, with an order of its own, and the books show exactly
    /// those.
    pub(crate) async fn end(self, shop: &Shop) {
        self.over.store(true, Ordering::Relaxed);
        let mut all = Bought::default();
        for buyer in self.buyers {
            let bought = buyer.await.expect("a buyer is through");
            all.orders.extend(bought.orders);
            all.tries_in_vain += bought.tries_in_vain;
        }
        let count = all.orders.len();
        println!("{count} purchases, {} tries in vain", all.tries_in_vain);
        assert!(count > 100, "{count} purchases show nothing");
        let different: BTreeSet<_> = all.orders.iter().collect();
        assert_eq!(different.len(), count, "each purchase has an order of its own");
        let reserved = i64::try_from(count).expect("a count");
        let expected = Units { remaining: i64::from(UNITS) - reserved, reserved, sold: 0 };
        shop.units_become(&self.sale, "the books show what was bought", expected).await;
    }
}

async fn buy(shop: Shop, sale: Sale, buyer: Member, over: Arc<AtomicBool>) -> Bought {
    let mut bought = Bought::default();
    while !over.load(Ordering::Relaxed) {
        let key = format!("{}-{}", unique("rush"), Uuid::now_v7());
        let answered = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(order) = answer(&shop, &sale, &buyer, &key).await {
                    return order;
                }
                bought.tries_in_vain += 1;
                tokio::time::sleep(AGAIN).await;
            }
        });
        let order = answered.await.expect("a purchase is answered in the end");
        bought.orders.push(order["id"].as_str().expect("an id").to_owned());
        tokio::time::sleep(PAUSE).await;
    }
    bought
}

/// One try.
async fn answer(shop: &Shop, sale: &Sale, buyer: &Member, key: &str) -> Option<Value> {
    let wish = json!({"sku": sale.sku, "quantity": 1});
    let path = format!("/api/v1/sales/{}/purchases", sale.name);
    let answer = shop.post(&path).by(buyer).json(&wish).key(key).send().await.ok()?;
    (!ASK_AGAIN.contains(&answer.status)).then(|| answer.expect(201))
}
