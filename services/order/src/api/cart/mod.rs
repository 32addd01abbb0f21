//! A buyer's cart: what is in it, what that costs now, and how to add, change and remove lines.
//!
//! [`merge`] takes over what somebody chose before logging in, and [`checkout`] turns the cart into an
//! order.

pub(super) mod checkout;
pub(super) mod merge;
mod view;

use axum::extract::State;
use axum::http::StatusCode;
use rocketmart_kit::auth::Member;
use rocketmart_kit::extract::{Json, Path};
use rocketmart_kit::problem::{FieldError, Problem, Result};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::App;
use crate::domain::cart::{MAX_LINES, MAX_QUANTITY};
use crate::store::cart::{self, NewLine};
use view::CartView;

/// The cart of the caller, with prices as they are now.
///
/// Nothing is held for it. A line whose price is not what its buyer saw when choosing it says so.
#[utoipa::path(get, path = "/api/v1/cart", tag = "cart", operation_id = "getCart", security(("bearer" = [])),
    responses(
        (status = 200, description = "The cart", body = CartView),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`database-unavailable`", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn get(State(app): State<App>, Member(claims): Member) -> Result<Json<CartView>> {
    Ok(Json(cart::lines(&app.pool, claims.sub).await?.into()))
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quantity {
    #[schema(minimum = 1, maximum = 999)]
    pub quantity: i64,
}

/// Puts so many units of a SKU into the cart, or changes how many there are. May be repeated.
///
/// The price as it is now is the one the buyer has seen.
#[utoipa::path(put, path = "/api/v1/cart/lines/{sku}", tag = "cart", operation_id = "putCartLine",
    security(("bearer" = [])),
    params(("sku" = String, Path, description = "The SKU")),
    request_body = Quantity,
    responses(
        (status = 200, description = "The cart with it", body = CartView),
        (status = 400, description = "`path-invalid`, `malformed-json`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`sku-unknown`: nobody sells it now", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`cart-full` (with `limit`)", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation-failed`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`database-unavailable`", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn put(
    State(app): State<App>,
    Member(claims): Member,
    Path(sku): Path<String>,
    Json(Quantity { quantity }): Json<Quantity>,
) -> Result<Json<CartView>> {
    if let Some(error) = broken_quantity("quantity", quantity) {
        return Err(Problem::validation(vec![error]));
    }
    check_path(&sku)?;
    let mut tx = app.pool.begin().await?;
    cart::lock(&mut tx, claims.sub).await?;
    let price = cart::prices(&mut tx, &[sku.as_str()]).await?.pop();
    let (sku, seen) = price.ok_or_else(sku_unknown)?;
    let before = cart::lines(&mut *tx, claims.sub).await?;
    if before.len() >= MAX_LINES && !before.iter().any(|line| line.sku == sku) {
        let detail = format!("it has {MAX_LINES} lines; take one out first");
        return Err(Problem::conflict("cart-full", detail).with("limit", MAX_LINES));
    }
    cart::put(&mut tx, claims.sub, &[NewLine { sku, quantity, seen }]).await?;
    let now = cart::lines(&mut *tx, claims.sub).await?;
    tx.commit().await?;
    Ok(Json(now.into()))
}

/// Takes a SKU out of the cart.
#[utoipa::path(delete, path = "/api/v1/cart/lines/{sku}", tag = "cart", operation_id = "removeCartLine",
    security(("bearer" = [])),
    params(("sku" = String, Path, description = "The SKU")),
    responses(
        (status = 204, description = "It is out"),
        (status = 400, description = "`path-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`cart-line-unknown`: it was not in the cart", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`database-unavailable`", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn remove(
    State(app): State<App>,
    Member(claims): Member,
    Path(sku): Path<String>,
) -> Result<StatusCode> {
    check_path(&sku)?;
    match remove_one(&app, claims.sub, &sku).await? {
        0 => Err(Problem::not_found("cart-line-unknown")),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

async fn remove_one(app: &App, buyer: Uuid, sku: &str) -> Result<u64> {
    let mut tx = app.pool.begin().await?;
    cart::lock(&mut tx, buyer).await?;
    let removed = cart::remove(&mut *tx, buyer, &[sku]).await?;
    tx.commit().await?;
    Ok(removed)
}

/// A path may hold anything, and PostgreSQL stores no NUL. Nobody sells what is not a SKU.
fn check_path(sku: &str) -> Result<()> {
    if broken_sku("sku", sku).is_some() { Err(sku_unknown()) } else { Ok(()) }
}

fn sku_unknown() -> Problem {
    Problem::not_found("sku-unknown")
}

fn broken_quantity(field: &str, quantity: i64) -> Option<FieldError> {
    let broken = !(1..=MAX_QUANTITY).contains(&quantity);
    broken.then(|| FieldError::new(field, "range", format!("must be 1 to {MAX_QUANTITY}")))
}

fn broken_sku(field: &str, sku: &str) -> Option<FieldError> {
    let good = (1..=128).contains(&sku.len()) && sku.bytes().all(|byte| byte.is_ascii_graphic());
    (!good).then(|| FieldError::new(field, "format", "must be 1 to 128 visible ASCII characters"))
}

/// What is wrong: the number of lines, or a SKU that is in two of them.
fn broken_lines<'a>(skus: impl ExactSizeIterator<Item = &'a str>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if !(1..=MAX_LINES).contains(&skus.len()) {
        errors.push(FieldError::new("lines", "length", format!("must have 1 to {MAX_LINES} lines")));
    }
    let mut seen = std::collections::HashSet::new();
    for (index, sku) in skus.enumerate() {
        let field = format!("lines[{index}].sku");
        if let Some(error) = broken_sku(&field, sku) {
            errors.push(error);
        } else if !seen.insert(sku) {
            errors.push(FieldError::new(field, "unique", "is listed twice"));
        }
    }
    errors
}
