//! Flash sales. On a cluster a sale is a FlashSale that the platform team applies. On loopback there is no
//! operator, so we call the internal API directly. From there on it is the same sale.

use std::time::Duration;

use rocketmart_contracts::internal_api::{Item, SaleTerms};
use rocketmart_harness::stack::InternalApi;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::{Kubectl, Member, PATIENCE, Shop, call::Call, eventually, unique};

/// How the shop learns of a sale.
#[derive(Debug, Clone)]
pub enum Sales {
    /// By the calls that an operator would make to the order service, which listens at `order`.
    InternalApi { order: String, api: InternalApi },
    /// By a FlashSale for a Shop on a cluster.
    Operator { kubectl: Kubectl, shop: String },
}

/// The terms of a sale of one SKU, in won.
#[derive(Debug, Clone)]
pub struct Offer {
    pub sku: String,
    pub units: u32,
    pub price: i64,
    pub per_buyer_limit: u32,
    pub payment_seconds: u32,
}

impl Offer {
    /// This many units at 19,900 won, one per buyer, with two minutes to pay.
    pub fn of(sku: &str, units: u32) -> Self {
        Self { sku: sku.to_owned(), units, price: 19_900, per_buyer_limit: 1, payment_seconds: 120 }
    }
}

/// An open sale.
#[derive(Debug, Clone)]
pub struct Sale {
    pub name: String,
    pub id: String,
    pub sku: String,
}

/// Where the units of a sale are, according to the durable books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Units {
    pub remaining: i64,
    pub reserved: i64,
    pub sold: i64,
}

const WINDOW: Duration = Duration::from_mins(30);
/// The label of each FlashSale made here; whoever runs the tests deletes them by it.
const LABEL: &str = "rocketmart.dev/made-by";

impl Sales {
    /// Loads a sale that opens at once.
    fn open(&self, name: &str, offer: &Offer) {
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).expect("whole seconds");
        let (opens_at, closes_at) = (now - Duration::from_secs(1), now + WINDOW);
        match self {
            Self::InternalApi { api, .. } => {
                let item = Item {
                    sku: offer.sku.clone(),
                    units: offer.units.into(),
                    price: offer.price,
                    per_buyer_limit: offer.per_buyer_limit.into(),
                };
                let terms = SaleTerms {
                    name: name.to_owned(),
                    fence: api.fence,
                    items: vec![item],
                    currency: "KRW".to_owned(),
                    opens_at,
                    closes_at,
                    payment_seconds: offer.payment_seconds.into(),
                };
                api.load(&Uuid::now_v7().to_string(), &terms, PATIENCE).expect("the sale is loaded");
            }
            Self::Operator { kubectl, shop } => {
                let manifest = json!({
                    "apiVersion": "rocketmart.dev/v1alpha1", "kind": "FlashSale",
                    "metadata": {"name": name, "labels": {LABEL: "tests"}},
                    "spec": {
                        "shop": shop, "currency": "KRW", "paymentDeadlineSeconds": offer.payment_seconds,
                        "opensAt": moment(opens_at), "closesAt": moment(closes_at),
                        "items": [{"sku": offer.sku, "units": offer.units, "price": offer.price,
                                   "perBuyerLimit": offer.per_buyer_limit}],
                    }
                });
                kubectl.run(&["create", "--filename=-"], &manifest.to_string());
            }
        }
    }

    /// Where the units of a sale are, according to the order service's books. An operator reports what it
    /// last read, about a second ago.
    fn units(&self, sale: &Sale) -> Units {
        match self {
            Self::InternalApi { api, .. } => {
                let counted = api.status(&sale.id).expect("the sale's status").ledger[0].units;
                Units { remaining: counted.remaining, reserved: counted.reserved, sold: counted.sold }
            }
            Self::Operator { kubectl, .. } => {
                let counted = kubectl.get("flashsale", &sale.name)["status"]["totals"].clone();
                let count = |field: &str| {
                    counted[field].as_i64().unwrap_or_else(|| panic!("no {field} in {counted}"))
                };
                Units { remaining: count("remaining"), reserved: count("reserved"), sold: count("sold") }
            }
        }
    }
}

impl Shop {
    /// Opens a sale of a SKU that a seller has published; returns once it sells.
    pub async fn open_sale(&self, offer: &Offer) -> Sale {
        let name = unique("e2e");
        let (sales, own, terms) = (self.place.sales.clone(), name.clone(), offer.clone());
        tokio::task::spawn_blocking(move || sales.open(&own, &terms)).await.expect("the sale is made known");
        let path = format!("/api/v1/sales/{name}");
        let sale = eventually(&format!("sale {name} is open"), async || {
            let sale = self.get(&path).await.json();
            (sale["state"] == "open").then_some(sale)
        })
        .await;
        Sale { name, id: sale["id"].as_str().expect("an id").to_owned(), sku: offer.sku.clone() }
    }

    /// Publishes a mug and opens a sale of it.
    pub async fn sale_of(&self, units: u32) -> Sale {
        self.sale_on(|sku| Offer::of(sku, units)).await
    }

    /// Publishes a mug and opens a sale of it on these terms.
    pub async fn sale_on(&self, terms: impl FnOnce(&str) -> Offer) -> Sale {
        let seller = self.seller().await;
        let sku = unique("MUG");
        let offer = terms(&sku);
        self.publish(&seller, &crate::mug(&sku, 24_900, offer.units)).await;
        self.open_sale(&offer).await
    }

    /// A purchase of one unit, not sent yet.
    pub fn purchase(&self, buyer: &Member, sale: &Sale) -> Call {
        self.post(&format!("/api/v1/sales/{}/purchases", sale.name))
            .by(buyer)
            .json(&json!({"sku": sale.sku, "quantity": 1}))
    }

    /// A payment of an order, submitted and confirmed in one request, not sent yet.
    pub fn pay(&self, buyer: &Member, order: &Value, wish: &Value) -> Call {
        let id = order["id"].as_str().expect("an order");
        self.post(&format!("/api/v1/orders/{id}/payment")).by(buyer).json(wish)
    }

    /// Where the units are, according to the order service's books and not Redis.
    pub async fn units(&self, sale: &Sale) -> Units {
        let (sales, sale) = (self.place.sales.clone(), sale.clone());
        tokio::task::spawn_blocking(move || sales.units(&sale)).await.expect("the books are open")
    }

    /// Waits until the books show the units where the test expects them; `what` says so in words.
    pub async fn units_become(&self, sale: &Sale, what: &str, expected: Units) {
        eventually(what, async || (self.units(sale).await == expected).then_some(())).await;
    }

    /// Waits until units have come back and this buyer gets one.
    pub async fn gets_a_unit(&self, buyer: &Member, sale: &Sale) {
        eventually("a later buyer gets the unit", async || {
            (self.purchase(buyer, sale).await.status == 201).then_some(())
        })
        .await;
    }
}

fn moment(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).expect("a time")
}
