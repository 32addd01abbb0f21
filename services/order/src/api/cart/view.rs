//! What a buyer sees of a cart.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::cart::{CartLine, totals};
use crate::store::clock::at;

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Cart)]
pub(crate) struct CartView {
    /// In the order in which they were chosen.
    pub lines: Vec<CartLineView>,
    /// What all of it costs now, by currency.
    pub totals: Vec<CartTotalView>,
    /// Whether some line costs something else than its buyer saw.
    pub price_changed: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = CartLine)]
pub(crate) struct CartLineView {
    pub sku: String,
    pub product_id: Uuid,
    pub title: String,
    pub quantity: i64,
    /// What a unit costs now, minor units.
    pub unit_price: i64,
    /// ISO 4217.
    pub currency: String,
    /// Whether that is something else than the buyer saw when choosing it.
    pub price_changed: bool,
    /// What the buyer saw, if it was something else.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seen: Option<SeenPriceView>,
    /// Units that could be had now, at most as many as a line may hold; a moment old.
    pub available: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub added_at: OffsetDateTime,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = SeenPrice)]
pub(crate) struct SeenPriceView {
    /// Minor units.
    pub unit_price: i64,
    /// ISO 4217.
    pub currency: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = CartTotal)]
pub(crate) struct CartTotalView {
    /// ISO 4217.
    pub currency: String,
    /// Minor units.
    pub amount: i64,
}

impl From<Vec<CartLine>> for CartView {
    fn from(lines: Vec<CartLine>) -> Self {
        let totals = totals(&lines)
            .into_iter()
            .map(|(currency, amount)| CartTotalView { currency: currency.to_owned(), amount })
            .collect();
        let price_changed = lines.iter().any(CartLine::price_changed);
        Self { lines: lines.into_iter().map(CartLineView::from).collect(), totals, price_changed }
    }
}

impl From<CartLine> for CartLineView {
    fn from(line: CartLine) -> Self {
        let (price_changed, available) = (line.price_changed(), line.available());
        let seen = SeenPriceView { unit_price: line.seen.amount, currency: line.seen.currency };
        Self {
            sku: line.sku,
            product_id: line.now.product_id,
            title: line.now.title,
            quantity: line.quantity,
            unit_price: line.now.price.amount,
            currency: line.now.price.currency,
            price_changed,
            seen: price_changed.then_some(seen),
            available,
            added_at: at(line.added_at_ms),
        }
    }
}
