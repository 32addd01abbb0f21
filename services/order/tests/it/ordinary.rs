//! Buying ordinary stock: a shop with goods on its shelves, carts, and what both books show for a shelf.

use reqwest::Method;
use rocketmart_order::domain::standing::sale_id;
use rocketmart_stock::{SaleId, SaleState};
use serde_json::{Value, json};

use crate::shop::{Backing, Caller, MUG, PRICE, Shop, becomes, eventually, supply};

pub(crate) const PEN: &str = "PEN";

/// A shop with 100 mugs and some pens on its shelves.
pub(crate) async fn with_pens(pens: i64) -> Shop {
    let shop = Shop::open().await;
    supply(&shop.backing.pool, PEN, pens).await;
    shelf_becomes(&shop, MUG, [100, 100, 0, 0]).await;
    shelf_becomes(&shop, PEN, [pens, pens, 0, 0]).await;
    shop
}

impl Backing {
    /// `preloaded, remaining, reserved, sold` of a SKU on its shelf, according to SQL.
    pub(crate) async fn shelf(&self, sku: &str) -> Option<[i64; 4]> {
        let row: Option<(i64, i64, i64, i64)> = sqlx::query_as(
            "SELECT preloaded, remaining, reserved, sold FROM sale_items JOIN sales ON id = sale_id
             WHERE standing AND sku = $1",
        )
        .bind(sku)
        .fetch_optional(&self.pool)
        .await
        .unwrap();
        row.map(Into::into)
    }

    /// The same according to Redis, once it sells.
    pub(crate) async fn shelf_in_redis(&self, sku: &str) -> Option<[i64; 4]> {
        let counters = self.stock.counters(SaleId(sale_id("EUR"))).await.ok()??;
        let item = counters.items.into_iter().find(|item| item.sku == sku)?;
        let sells = counters.state == SaleState::Ready;
        sells.then(|| [item.preloaded, item.remaining, item.reserved, item.sold].map(i64::from))
    }

    /// `on_hand, allocated, shelved` of a SKU.
    pub(crate) async fn stock_of(&self, sku: &str) -> [i64; 3] {
        let row: (i64, i64, i64) =
            sqlx::query_as("SELECT on_hand, allocated, shelved FROM stock WHERE sku = $1")
                .bind(sku)
                .fetch_one(&self.pool)
                .await
                .unwrap();
        row.into()
    }
}

/// Waits until both books show these counters.
pub(crate) async fn shelf_becomes(shop: &Shop, sku: &str, expected: [i64; 4]) {
    becomes(&format!("the shelf of {sku} in both books"), (Some(expected), Some(expected)), async || {
        (shop.backing.shelf(sku).await, shop.backing.shelf_in_redis(sku).await)
    })
    .await;
}

pub(crate) async fn fill(buyer: &Caller, lines: &[(&str, i64)]) {
    for (sku, quantity) in lines {
        let path = format!("/api/v1/cart/lines/{sku}");
        let (status, answer) = buyer.put(&path, &json!({ "quantity": quantity })).await;
        assert_eq!(status, 200, "{answer}");
    }
}

/// All these lines, at the usual price.
pub(crate) fn agreed(lines: &[(&str, i64)]) -> Value {
    let line =
        |(sku, quantity): &(&str, i64)| json!({ "sku": sku, "quantity": quantity, "unit_price": PRICE });
    json!({ "currency": "EUR", "lines": lines.iter().map(line).collect::<Vec<_>>() })
}

pub(crate) async fn check_out(buyer: &Caller, key: &str, wish: &Value) -> (u16, Value) {
    buyer.call(Method::POST, "/api/v1/cart/checkout", Some(wish), Some(key)).await
}

pub(crate) async fn buy(buyer: &Caller, lines: &[(&str, i64)]) -> (u16, Value) {
    fill(buyer, lines).await;
    check_out(buyer, "buy", &agreed(lines)).await
}

/// The outcome of a request, repeated while that is unknown, as buyers and the operator do.
pub(crate) async fn until_known(mut ask: impl AsyncFnMut() -> (u16, Value)) -> (u16, Value) {
    let mut answer = (503, Value::Null);
    eventually("it is known what came of a request", async || {
        answer = ask().await;
        answer.0 != 503
    })
    .await;
    answer
}
