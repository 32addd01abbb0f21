//! `POST /api/v1/cart/merge`: what somebody chose before logging in joins their cart.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use rocketmart_kit::auth::Member;
use rocketmart_kit::extract::{IdempotencyKey, Json};
use rocketmart_kit::problem::{FieldError, Problem, Result};
use rocketmart_kit::{idempotency, list};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::view::CartView;
use super::{App, broken_lines, broken_quantity};
use crate::domain::cart::{Merged, Price, merge};
use crate::domain::sale::MAX_PRICE;
use crate::store::cart::{self, NewLine};

const ROUTE: &str = "POST /api/v1/cart/merge";

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GuestCart {
    #[serde(deserialize_with = "list::at_most::<100, _, _>")]
    #[schema(min_items = 1, max_items = 100)]
    pub lines: Vec<GuestLine>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GuestLine {
    #[schema(min_length = 1, max_length = 128)]
    pub sku: String,
    #[schema(minimum = 1, maximum = 999)]
    pub quantity: i64,
    /// What a unit cost when the guest chose it, minor units; the price now if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub unit_price: Option<i64>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct MergedCart {
    pub cart: CartView,
    /// SKUs of which the cart holds less than both together: a line holds no more.
    pub reduced: Vec<String>,
    /// SKUs that were left out: nobody sells them now, or the cart is full.
    pub left_out: Vec<String>,
}

/// Adds a guest's lines to the cart of the caller, after log-in.
///
/// Quantities of one SKU add up, as far as one line may go. Repeating the request with the same key adds
/// nothing.
#[utoipa::path(post, path = "/api/v1/cart/merge", tag = "cart", operation_id = "mergeCart",
    security(("bearer" = [])),
    params(("Idempotency-Key" = String, Header, description = "1–128 visible ASCII characters")),
    request_body = GuestCart,
    responses(
        (status = 200, description = "The cart of both", body = MergedCart),
        (status = 400, description = "`malformed-json`, `idempotency-key-missing`, `idempotency-key-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`request-in-progress`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation-failed`, `idempotency-key-reused`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`database-unavailable`", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn take_over(
    State(app): State<App>,
    Member(claims): Member,
    key: IdempotencyKey,
    Json(guest): Json<GuestCart>,
) -> Result<Response> {
    check(&guest)?;
    let hash = idempotency::request_hash(&guest);
    idempotency::once(&app.pool, claims.sub, ROUTE, &key, hash, move |connection| {
        async move { Ok(Json(add(connection, claims.sub, guest.lines).await?).into_response()) }.boxed()
    })
    .await
}

async fn add(tx: &mut PgConnection, buyer: Uuid, guest: Vec<GuestLine>) -> Result<MergedCart> {
    cart::lock(tx, buyer).await?;
    let before = cart::lines(&mut *tx, buyer).await?;
    let mut quantities: BTreeMap<String, i64> =
        before.iter().map(|line| (line.sku.clone(), line.quantity)).collect();
    let skus: Vec<&str> = guest.iter().map(|line| line.sku.as_str()).collect();
    let prices: BTreeMap<String, Price> = cart::prices(tx, &skus).await?.into_iter().collect();
    let (mut changed, mut reduced, mut left_out) = (Vec::new(), Vec::new(), BTreeSet::new());
    for line in guest {
        let Some(now) = prices.get(&line.sku) else {
            left_out.insert(line.sku);
            continue;
        };
        match merge(&mut quantities, &line.sku, line.quantity) {
            Merged::Quantity(_) => {}
            Merged::Reduced => reduced.push(line.sku.clone()),
            Merged::Full => {
                left_out.insert(line.sku);
                continue;
            }
        }
        // What the guest saw counts. If the guest does not say, what the member saw before counts.
        let known = before.iter().find(|known| known.sku == line.sku).map(|known| known.seen.clone());
        let seen = match line.unit_price {
            Some(amount) => Price { amount, ..now.clone() },
            None => known.unwrap_or_else(|| now.clone()),
        };
        let quantity = quantities.get(&line.sku).copied().unwrap_or_default();
        changed.push(NewLine { sku: line.sku, quantity, seen });
    }
    cart::put(tx, buyer, &changed).await?;
    let cart = cart::lines(&mut *tx, buyer).await?.into();
    Ok(MergedCart { cart, reduced, left_out: left_out.into_iter().collect() })
}

fn check(guest: &GuestCart) -> Result<()> {
    let mut errors = broken_lines(guest.lines.iter().map(|line| line.sku.as_str()));
    for (index, line) in guest.lines.iter().enumerate() {
        errors.extend(broken_quantity(&format!("lines[{index}].quantity"), line.quantity));
        if line.unit_price.is_some_and(|price| !(0..=MAX_PRICE).contains(&price)) {
            let detail = format!("must be 0 to {MAX_PRICE}");
            errors.push(FieldError::new(format!("lines[{index}].unit_price"), "range", detail));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Problem::validation(errors)) }
}
