//! Flash sales. There is no operator here, so the side door is asked directly; from there on it is the
//! same sale.

use std::time::Duration;

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::{Member, PATIENCE, Shop, call::Call, eventually, unique};

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
    /// Units at 19,900 won, one per buyer, with two minutes to pay.
    pub fn of(sku: &str, units: u32) -> Self {
        Self { sku: sku.to_owned(), units, price: 19_900, per_buyer_limit: 1, payment_seconds: 120 }
    }
}

/// A sale that is open.
#[derive(Debug, Clone)]
pub struct Sale {
    pub name: String,
    pub id: String,
    pub sku: String,
}

/// Where the units of a sale are, by the durable books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Units {
    pub remaining: i64,
    pub reserved: i64,
    pub sold: i64,
}

const WINDOW: Duration = Duration::from_mins(30);

impl Shop {
    /// Opens a sale of a SKU that a seller has published; answers once it sells.
    pub async fn open_sale(&self, offer: &Offer) -> Sale {
        let name = unique("e2e");
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).expect("whole seconds");
        let terms = json!({
            "name": name, "currency": "KRW", "payment_seconds": offer.payment_seconds,
            "opens_at": moment(now - Duration::from_secs(1)), "closes_at": moment(now + WINDOW),
            "items": [{"sku": offer.sku, "units": offer.units, "price": offer.price,
                       "per_buyer_limit": offer.per_buyer_limit}],
        });
        let (door, id) = (self.place.side_door.clone(), Uuid::now_v7().to_string());
        let loading = tokio::task::spawn_blocking(move || door.load(&id, &terms, PATIENCE));
        loading.await.expect("no panic").expect("the sale is loaded");
        let path = format!("/api/v1/sales/{name}");
        let sale = eventually(&format!("sale {name} is open"), async || {
            let sale = self.get(&path).await.json();
            (sale["state"] == "open").then_some(sale)
        })
        .await;
        Sale { name, id: sale["id"].as_str().expect("an id").to_owned(), sku: offer.sku.clone() }
    }

    /// A published mug and an open sale of it.
    pub async fn sale_of(&self, units: u32) -> Sale {
        self.sale_on(|sku| Offer::of(sku, units)).await
    }

    /// A published mug and an open sale of it on these terms.
    pub async fn sale_on(&self, terms: impl FnOnce(&str) -> Offer) -> Sale {
        let seller = self.seller().await;
        let sku = unique("MUG");
        let offer = terms(&sku);
        self.publish(&seller, &crate::mug(&sku, 24_900, offer.units)).await;
        self.open_sale(&offer).await
    }

    /// A purchase of one unit, not yet sent.
    pub fn purchase(&self, buyer: &Member, sale: &Sale) -> Call {
        self.post(&format!("/api/v1/sales/{}/purchases", sale.name))
            .by(buyer)
            .json(&json!({"sku": sale.sku, "quantity": 1}))
    }

    /// A payment of an order, submitted and confirmed in one, not yet sent.
    pub fn pay(&self, buyer: &Member, order: &Value, wish: &Value) -> Call {
        let id = order["id"].as_str().expect("an order");
        self.post(&format!("/api/v1/orders/{id}/payment")).by(buyer).json(wish)
    }

    /// Where the units are, by the books of the order service rather than by Redis.
    pub async fn units(&self, sale: &Sale) -> Units {
        let (door, sale) = (self.place.side_door.clone(), sale.clone());
        let status = tokio::task::spawn_blocking(move || door.status(&sale.id));
        let counted = status.await.expect("no panic").expect("the sale's status")["ledger"][0].clone();
        let count =
            |field: &str| counted[field].as_i64().unwrap_or_else(|| panic!("no {field} in {counted}"));
        Units { remaining: count("remaining"), reserved: count("reserved"), sold: count("sold") }
    }

    /// Waits until the books show the units where they are expected; `what` says so in words.
    pub async fn units_become(&self, sale: &Sale, what: &str, expected: Units) {
        eventually(what, async || (self.units(sale).await == expected).then_some(())).await;
    }

    /// Waits until units have come back, so that this buyer gets one.
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
