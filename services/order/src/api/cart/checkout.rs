//! `POST /api/v1/cart/checkout`: all chosen lines of a cart become one order, or none do.
//!
//! The buyer says what was on the screen: SKUs, quantities, prices. SQL compares that with what the cart
//! holds. Redis decides what a unit costs and whether there are enough, for all lines together and in the
//! same step that reserves them. The lines leave the cart in the transaction that keeps the answer. If the
//! process dies between Redis and the commit, the same request finds its reservation under its key and
//! continues.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use rocketmart_contracts::currency::Currency;
use rocketmart_kit::auth::Member;
use rocketmart_kit::client_address::ClientAddress;
use rocketmart_kit::extract::{IdempotencyKey, Json};
use rocketmart_kit::problem::{FieldError, Problem, Result};
use rocketmart_kit::{idempotency, list, trace};
use rocketmart_stock::{BuyerId, Line, OrderId, Reservation, Reserve, ReserveOutcome, SaleId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{App, broken_lines, broken_quantity};
use crate::api::view::OrderView;
use crate::api::{problems, purchases};
use crate::domain::cart::CartLine;
use crate::domain::sale::MAX_PRICE;
use crate::domain::standing::sale_id;
use crate::store::{cart, checkouts, clock};

const ROUTE: &str = "POST /api/v1/cart/checkout";

/// What the buyer saw and agrees to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckOut {
    /// ISO 4217. One order is of one currency.
    #[schema(min_length = 3, max_length = 3)]
    pub currency: String,
    /// Lines of the cart; those left out stay there.
    #[serde(deserialize_with = "list::at_most::<100, _, _>")]
    #[schema(min_items = 1, max_items = 100)]
    pub lines: Vec<AgreedLine>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgreedLine {
    #[schema(min_length = 1, max_length = 128)]
    pub sku: String,
    /// As the cart holds it.
    #[schema(minimum = 1, maximum = 999)]
    pub quantity: i64,
    /// Minor units.
    #[schema(minimum = 0)]
    pub unit_price: i64,
}

/// Orders lines of the cart at the prices the buyer saw: all of them are reserved, or none is.
///
/// The order is paid for like any other. Repeating the request with the same key answers with the same
/// order.
#[utoipa::path(post, path = "/api/v1/cart/checkout", tag = "cart", operation_id = "checkOut",
    security(("bearer" = [])),
    params(("Idempotency-Key" = String, Header, description = "1–128 visible ASCII characters")),
    request_body = CheckOut,
    responses(
        (status = 201, description = "The units are reserved, and the lines have left the cart", body = OrderView),
        (status = 400, description = "`malformed-json`, `idempotency-key-missing`, `idempotency-key-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`price-changed`, `cart-changed`, `not-for-sale` (each with `lines`), `sold-out` (with `sku` and `remaining`), `unpaid-limit-exceeded` (with `limits` and `unpaid`, each `{orders, units}`), `request-in-progress`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation-failed`, `idempotency-key-reused`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`overloaded`, `too-many-requests` (this member or this address, with `Retry-After`): nothing was changed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`outcome-unknown`, `stock-unavailable`, `database-unavailable`", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn check_out(
    State(app): State<App>,
    Member(claims): Member,
    address: ClientAddress,
    key: IdempotencyKey,
    Json(wish): Json<CheckOut>,
) -> Result<Response> {
    check(&wish)?;
    app.limits.admit(claims.sub, address)?;
    let hash = idempotency::request_hash(&wish);
    let pool = app.pool.clone();
    let reserve_key = key.0.clone();
    let answer = idempotency::once(&pool, claims.sub, ROUTE, &key, hash, move |tx| {
        async move {
            let cart = expect_in_cart(tx, claims.sub, &wish).await?;
            let units = wish.lines.iter().map(|line| line.quantity).sum();
            app.expect_within_limits(tx, claims.sub, &reserve_key, units).await?;
            let reservation = app.reserve_all(claims.sub, reserve_key, &wish, hash, &cart).await?;
            let skus: Vec<&str> = wish.lines.iter().map(|line| line.sku.as_str()).collect();
            cart::remove(&mut *tx, claims.sub, &skus).await?;
            let pay_by = clock::at(reservation.pay_by_ms);
            checkouts::note(tx, reservation.order.0, claims.sub, units, pay_by).await?;
            Ok((StatusCode::CREATED, Json(OrderView::from(reservation))).into_response())
        }
        .boxed()
    })
    .await;
    let outcome = answer.as_ref().map_or_else(|problem| problem.code, |_| "reserved");
    metrics::counter!("order_checkouts_total", "outcome" => outcome).increment(1);
    answer
}

/// Compares what the buyer saw with what the cart holds, and keeps the cart locked meanwhile. Returns the
/// cart.
async fn expect_in_cart(tx: &mut PgConnection, buyer: Uuid, wish: &CheckOut) -> Result<Vec<CartLine>> {
    cart::lock(tx, buyer).await?;
    let held = cart::lines(&mut *tx, buyer).await?;
    let line_of = |sku: &str| held.iter().find(|line| line.sku == sku);
    let differ = |about: &dyn Fn(&AgreedLine, Option<&CartLine>) -> Option<Value>| -> Vec<Value> {
        wish.lines.iter().filter_map(|wanted| about(wanted, line_of(&wanted.sku))).collect()
    };
    let changed = differ(&|wanted, held| {
        let quantity = held.map_or(0, |line| line.quantity);
        (quantity != wanted.quantity).then(|| json!({ "sku": wanted.sku, "quantity": quantity }))
    });
    if !changed.is_empty() {
        return Err(conflict("cart-changed", "The cart holds something else by now", changed));
    }
    let withdrawn = differ(&|wanted, held| {
        held.is_some_and(|line| !line.now.published).then(|| json!({ "sku": wanted.sku }))
    });
    if !withdrawn.is_empty() {
        return Err(conflict("not-for-sale", "Nobody sells this any more", withdrawn));
    }
    let elsewhere = differ(&|_, held| {
        let line = held.filter(|line| line.now.price.currency != wish.currency)?;
        Some(
            json!({ "sku": line.sku, "unit_price": line.now.price.amount, "currency": line.now.price.currency }),
        )
    });
    if elsewhere.is_empty() { Ok(held) } else { Err(price_changed(elsewhere)) }
}

impl App {
    /// Refuses the order if the member would hold more unpaid than allowed.
    async fn expect_within_limits(
        &self,
        tx: &mut PgConnection,
        buyer: Uuid,
        key: &str,
        units: i64,
    ) -> Result<()> {
        let (limits, unpaid) = (self.unpaid_limits, checkouts::unpaid(tx, buyer, key).await?);
        if limits.admit(unpaid, units) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::CONFLICT,
            "unpaid-limit-exceeded",
            "Too much is held without having been paid",
        )
        .detail("nothing was changed; pay for or cancel an open order, or wait until it expires")
        .with("limits", json!({ "orders": limits.orders, "units": limits.units }))
        .with("unpaid", json!({ "orders": unpaid.orders, "units": unpaid.units })))
    }

    /// Reserves all lines at the prices the buyer saw, or nothing.
    async fn reserve_all(
        &self,
        buyer: Uuid,
        key: String,
        wish: &CheckOut,
        hash: [u8; 32],
        cart: &[CartLine],
    ) -> Result<Reservation> {
        let sale = SaleId(sale_id(&wish.currency));
        let lines = wish.lines.iter().map(|line| {
            let quantity = u32::try_from(line.quantity).map_err(Problem::internal)?;
            Ok(Line { agreed_price: Some(line.unit_price), ..Line::new(&line.sku, quantity) })
        });
        let reserve = Reserve {
            sale,
            order: OrderId::fresh(sale),
            buyer: BuyerId(buyer),
            lines: lines.collect::<Result<_>>()?,
            key,
            request_hash: hex::encode(&hash[..16]),
            traceparent: trace::current().map(|context| context.to_string()),
        };
        match purchases::reserve(self, reserve).await.map_err(problems::stock)? {
            ReserveOutcome::PriceChanged { lines } => {
                let current = |sku: String, price: i64| json!({ "sku": sku, "unit_price": price, "currency": wish.currency });
                Err(price_changed(lines.into_iter().map(|line| current(line.sku, line.unit_price)).collect()))
            }
            // The books have it for sale, and Redis will hear of it any moment.
            ReserveOutcome::UnknownSku { sku }
                if cart.iter().any(|line| line.sku == sku && line.available() > 0) =>
            {
                Err(not_yet())
            }
            ReserveOutcome::UnknownSku { sku } => Err(purchases::sold_out(sku, 0)),
            ReserveOutcome::UnknownSale | ReserveOutcome::Suspended => Err(not_yet()),
            outcome => purchases::accepted(self, sale, outcome),
        }
    }
}

fn not_yet() -> Problem {
    Problem::unavailable("stock-unavailable", "nothing was changed; try again")
}

fn price_changed(lines: Vec<Value>) -> Problem {
    conflict("price-changed", "Some prices are not those the buyer saw", lines)
}

fn conflict(code: &'static str, title: &'static str, lines: Vec<Value>) -> Problem {
    Problem::new(StatusCode::CONFLICT, code, title).detail("nothing was changed").with("lines", lines)
}

fn check(wish: &CheckOut) -> Result<()> {
    let mut errors = broken_lines(wish.lines.iter().map(|line| line.sku.as_str()));
    if Currency::from_code(&wish.currency).is_none() {
        let detail = "must be the ISO 4217 code of a currency in use, such as EUR";
        errors.push(FieldError::new("currency", "iso-4217", detail));
    }
    for (index, line) in wish.lines.iter().enumerate() {
        errors.extend(broken_quantity(&format!("lines[{index}].quantity"), line.quantity));
        if !(0..=MAX_PRICE).contains(&line.unit_price) {
            let detail = format!("must be 0 to {MAX_PRICE}");
            errors.push(FieldError::new(format!("lines[{index}].unit_price"), "range", detail));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Problem::validation(errors)) }
}
