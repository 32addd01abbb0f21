//! `POST /api/v1/sales/{sale}/purchases`: the hot path.
//!
//! Each purchase goes to the coalescer as a wish and comes back with Redis' decision, made and fsynced. If
//! the decision does not come back, we ask for it again under the same idempotency key. We never assume
//! one.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use rocketmart_kit::auth::Member;
use rocketmart_kit::client_address::ClientAddress;
use rocketmart_kit::extract::{IdempotencyKey, Json, Path};
use rocketmart_kit::problem::{FieldError, Problem, Result};
use rocketmart_kit::trace;
use rocketmart_stock::{BuyerId, Line, OrderId, Reservation, Reserve, ReserveOutcome, SaleId, StockError};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::find_sale::Seller;
use super::sales::SalePhase;
use super::view::OrderView;
use super::{App, problems};
use crate::store::clock::at;
use crate::store::{orders, rebuild};

/// How often we try a wish whose outcome stays unknown.
const TRIES: u32 = 3;
/// Pause before the next try.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Purchase {
    #[schema(min_length = 1, max_length = 128)]
    pub sku: String,
    #[schema(minimum = 1)]
    pub quantity: u32,
}

/// Buys units of a SKU on sale: reserves them until they are paid for.
///
/// Repeating the request with the same key answers with the same order.
#[utoipa::path(post, path = "/api/v1/sales/{sale}/purchases", tag = "sales", operation_id = "purchase",
    security(("bearer" = [])),
    params(
        ("sale" = String, Path, description = "Id or name of the sale"),
        ("Idempotency-Key" = String, Header, description = "1–128 visible ASCII characters"),
    ),
    request_body = Purchase,
    responses(
        (status = 201, description = "The units are reserved", body = OrderView),
        (status = 400, description = "`idempotency-key-missing`, `idempotency-key-invalid`, `malformed-json`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`sale-unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`sold-out`, `sale-not-open` (with `opens_at`), `sale-closed`, `buyer-limit-exceeded`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`sku-not-in-sale`, `idempotency-key-reused`, `validation-failed`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`overloaded`, `too-many-requests` (this member or this address, with `Retry-After`): nothing was changed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`sale-paused`, `outcome-unknown`, `stock-unavailable`", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn purchase(
    State(app): State<App>,
    Member(claims): Member,
    address: ClientAddress,
    Path(sale): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<Purchase>,
) -> Result<(StatusCode, Json<OrderView>)> {
    check(&body)?;
    app.limits.admit(claims.sub, address).inspect_err(|problem| count(problem.code))?;
    let request_hash = fingerprint(&body);
    let sale = match app.seller(&sale).await? {
        Seller::Redis(sale) => sale,
        Seller::Books(sale) => return bought_before(&app, sale, claims.sub, &key.0, &request_hash).await,
    };
    let wish = Reserve {
        sale,
        order: OrderId::fresh(sale),
        buyer: BuyerId(claims.sub),
        request_hash,
        lines: vec![Line::new(body.sku, body.quantity)],
        key: key.0,
        traceparent: trace::current().map(|context| context.to_string()),
    };
    let outcome = reserve(&app, wish).await.inspect_err(|_| count("no-answer")).map_err(problems::stock)?;
    let reservation = accepted(&app, sale, outcome).inspect_err(|problem| count(problem.code))?;
    Ok((StatusCode::CREATED, Json(reservation.into())))
}

/// The answer to a purchase in a sale whose books are signed off: the order that the same key made before,
/// and nothing new.
async fn bought_before(
    app: &App,
    sale: SaleId,
    buyer: Uuid,
    key: &str,
    request_hash: &str,
) -> Result<(StatusCode, Json<OrderView>)> {
    let made = rebuild::wish(&app.pool, sale.0, buyer, key).await?.ok_or_else(closed)?;
    if made.request_hash != request_hash {
        return Err(key_reused());
    }
    let order = orders::find(&app.pool, &[made.order_id]).await?.pop().ok_or_else(closed)?;
    count("duplicate");
    Ok((StatusCode::CREATED, Json(order.into())))
}

/// Asks Redis, and asks again while the outcome is unknown. The key makes it safe to repeat the same wish:
/// if an earlier try was carried out, the answer is its order.
pub(super) async fn reserve(app: &App, wish: Reserve) -> Result<ReserveOutcome, StockError> {
    for _ in 1..TRIES {
        match app.coalescer.reserve(wish.clone()).await {
            Err(StockError::Unknown(reason)) => {
                tracing::debug!(order = %wish.order, reason, "asking again with the same key");
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
    app.coalescer.reserve(wish).await
}

fn check(body: &Purchase) -> Result<()> {
    let mut errors = Vec::new();
    if body.quantity == 0 {
        errors.push(FieldError::new("quantity", "at-least-one", "must be at least 1"));
    }
    if body.sku.is_empty() || body.sku.len() > 128 || !body.sku.bytes().all(|b| b.is_ascii_graphic()) {
        errors.push(FieldError::new("sku", "format", "must be 1 to 128 visible ASCII characters"));
    }
    if errors.is_empty() { Ok(()) } else { Err(Problem::validation(errors)) }
}

/// What makes two bodies the same wish. The place of the key already includes the sale.
fn fingerprint(body: &Purchase) -> String {
    let mut hash = Sha256::new();
    hash.update(body.sku.as_bytes());
    hash.update([0]);
    hash.update(body.quantity.to_be_bytes());
    // 128 bits are plenty to tell bodies apart, and take half the space.
    hex::encode(&hash.finalize()[..16])
}

pub(super) fn accepted(app: &App, sale: SaleId, outcome: ReserveOutcome) -> Result<Reservation> {
    let conflict = |code, title| Problem::new(StatusCode::CONFLICT, code, title);
    Err(match outcome {
        ReserveOutcome::Reserved(reservation) => {
            count("reserved");
            return Ok(reservation);
        }
        ReserveOutcome::Duplicate(reservation) => {
            count("duplicate");
            return Ok(reservation);
        }
        ReserveOutcome::SoldOut { sku, remaining } => sold_out(sku, remaining),
        ReserveOutcome::LimitExceeded { sku, limit, held } => {
            conflict("buyer-limit-exceeded", "The limit per buyer is reached")
                .with("sku", sku)
                .with("limit", limit)
                .with("held", held)
        }
        ReserveOutcome::PriceChanged { .. } => conflict("price-changed", "The price has changed"),
        ReserveOutcome::NotOpen { opens_at_ms } => not_open(opens_at_ms),
        ReserveOutcome::Closed => closed(),
        ReserveOutcome::Suspended => suspended(app, sale),
        ReserveOutcome::UnknownSale => not_loaded(app, sale),
        ReserveOutcome::UnknownSku { sku } => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "sku-not-in-sale",
            "The sale does not sell this SKU",
        )
        .field("sku", "in-sale", format!("{sku} is not part of this sale")),
        ReserveOutcome::KeyReused => key_reused(),
        ReserveOutcome::Invalid { field, rule } => {
            Problem::validation(vec![FieldError::new(field, "invalid", rule)])
        }
    })
}

pub(super) fn sold_out(sku: String, remaining: u32) -> Problem {
    Problem::new(StatusCode::CONFLICT, "sold-out", "Sold out").with("sku", sku).with("remaining", remaining)
}

fn closed() -> Problem {
    Problem::new(StatusCode::CONFLICT, "sale-closed", "The sale is closed")
}

fn key_reused() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency-key-reused",
        "The Idempotency-Key was used with another body",
    )
    .detail("a new purchase needs a new key")
}

fn not_open(opens_at_ms: i64) -> Problem {
    let opens_at = at(opens_at_ms).format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
    Problem::new(StatusCode::CONFLICT, "sale-not-open", "The sale is not open yet").with("opens_at", opens_at)
}

fn suspended(app: &App, sale: SaleId) -> Problem {
    // A sale that was loaded and not yet verified is suspended too.
    match app.sales.get(sale).map(|listed| listed.view) {
        Some(view) if view.state == SalePhase::Scheduled => not_open(crate::store::clock::ms(view.opens_at)),
        _ => problems::sale_paused(),
    }
}

/// Redis does not know the sale: it was never loaded, or ended long ago.
fn not_loaded(app: &App, sale: SaleId) -> Problem {
    match app.sales.get(sale).map(|listed| listed.view) {
        Some(view) if view.state == SalePhase::Closed => closed(),
        Some(view) if view.state == SalePhase::Scheduled => not_open(crate::store::clock::ms(view.opens_at)),
        Some(_) => problems::sale_paused(),
        None => problems::sale_unknown(),
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("order_purchases_total", "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_wish_has_the_same_fingerprint() {
        let wish = |sku: &str, quantity| fingerprint(&Purchase { sku: sku.into(), quantity });
        assert_eq!(wish("MUG", 1), wish("MUG", 1));
        assert_ne!(wish("MUG", 1), wish("MUG", 2));
        assert_ne!(wish("MUG", 1), wish("MUH", 1));
    }
}
