//! Buyers who buy one unit after another while something happens to the shop. They repeat each purchase under
//! its key until it is answered, as a shopper's program would.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rocketmart_shop::{Member, Offer, PATIENCE, Sale, Shop, Units, unique};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const BUYERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(25);
/// Pause between two tries of the same purchase.
const AGAIN: Duration = Duration::from_millis(50);
/// Fewer purchases would show nothing.
const FEWEST_PURCHASES: usize = 100;
/// More than they can buy.
const UNITS: u32 = 100_000;

/// Statuses after which a client may ask again: nobody behind the entrance, too busy, or too late.
const ASK_AGAIN: [u16; 4] = [429, 502, 503, 504];

/// Buyers at work.
pub(crate) struct Rush {
    sale: Sale,
    over: Arc<AtomicBool>,
    /// Purchases of all buyers.
    purchases: Arc<AtomicUsize>,
    buyers: Vec<JoinHandle<Bought>>,
}

/// The orders that were answered 201, and how many requests got no answer.
struct Bought {
    buyer: Member,
    orders: Vec<String>,
    tries_in_vain: u32,
}

impl Rush {
    /// Opens a sale and lets the buyers in.
    pub(crate) async fn start(shop: &Shop) -> Self {
        let offer = |sku: &str| Offer {
            per_buyer_limit: UNITS,
            // Nobody pays, and nothing may come back before we look at the books.
            payment_seconds: 600,
            ..Offer::of(sku, UNITS)
        };
        let sale = shop.sale_on(offer).await;
        let over = Arc::new(AtomicBool::new(false));
        let purchases = Arc::new(AtomicUsize::new(0));
        let mut buyers = Vec::new();
        for _ in 0..BUYERS {
            let buyer = shop.buyer().await;
            buyers.push(tokio::spawn(buy(
                shop.clone(),
                sale.clone(),
                buyer,
                over.clone(),
                purchases.clone(),
            )));
        }
        Self { sale, over, purchases, buyers }
    }

    /// Calls the buyers off as soon as there are enough purchases to show something. Every purchase has been
    /// answered with its own order, and the books show exactly those orders. Then everything is given back,
    /// because a sale that drains holds the shop's replicas.
    pub(crate) async fn end(self, shop: &Shop) {
        let enough = tokio::time::timeout(PATIENCE, async {
            while self.purchases.load(Ordering::Relaxed) <= FEWEST_PURCHASES {
                tokio::time::sleep(AGAIN).await;
            }
        });
        // How many there are by now depends on how busy the machine is. Whether buyers go on does not.
        enough.await.expect("buyers go on buying");
        self.over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for buyer in self.buyers {
            all.push(buyer.await.expect("a buyer is through"));
        }
        let orders: Vec<_> = all.iter().flat_map(|bought| &bought.orders).collect();
        let (count, in_vain) = (orders.len(), all.iter().map(|bought| bought.tries_in_vain).sum::<u32>());
        println!("{count} purchases, {in_vain} tries in vain");
        assert!(count > FEWEST_PURCHASES, "{count} purchases show nothing");
        let different: BTreeSet<_> = orders.iter().collect();
        assert_eq!(different.len(), count, "each purchase has an order of its own");
        let reserved = i64::try_from(count).expect("a count");
        let expected = Units { remaining: i64::from(UNITS) - reserved, reserved, sold: 0 };
        shop.units_become(&self.sale, "the books show what was bought", expected).await;

        let cancelling: Vec<_> =
            all.into_iter().map(|bought| tokio::spawn(cancel(shop.clone(), bought))).collect();
        for buyer in cancelling {
            buyer.await.expect("all is given back");
        }
        let nothing = Units { remaining: i64::from(UNITS), reserved: 0, sold: 0 };
        shop.units_become(&self.sale, "the books show that all is back", nothing).await;
    }
}

async fn cancel(shop: Shop, bought: Bought) {
    for order in &bought.orders {
        shop.post(&format!("/api/v1/orders/{order}/cancel"))
            .by(&bought.buyer)
            .json(&json!({}))
            .await
            .expect(200);
    }
}

async fn buy(
    shop: Shop,
    sale: Sale,
    buyer: Member,
    over: Arc<AtomicBool>,
    purchases: Arc<AtomicUsize>,
) -> Bought {
    let mut bought = Bought { buyer, orders: Vec::new(), tries_in_vain: 0 };
    while !over.load(Ordering::Relaxed) {
        let key = unique("rush");
        let answered = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(order) = answer(&shop, &sale, &bought.buyer, &key).await {
                    return order;
                }
                bought.tries_in_vain += 1;
                tokio::time::sleep(AGAIN).await;
            }
        });
        let order = answered.await.expect("a purchase is answered in the end");
        bought.orders.push(order["id"].as_str().expect("an id").to_owned());
        purchases.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
    bought
}

/// One try.
async fn answer(shop: &Shop, sale: &Sale, buyer: &Member, key: &str) -> Option<Value> {
    let answer = shop.purchase(buyer, sale).key(key).send().await.ok()?;
    (!ASK_AGAIN.contains(&answer.status)).then(|| answer.expect(201))
}
