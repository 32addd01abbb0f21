//! A buyer's orders: list, one, and cancelling before payment.

use axum::extract::State;
use rocketmart_kit::auth::Member;
use rocketmart_kit::extract::{Json, Path, Query};
use rocketmart_kit::page::{Page, PageQuery};
use rocketmart_kit::problem::{FieldError, Problem, Result};
use rocketmart_stock::{BuyerId, OrderId, ReleaseOutcome, ReservationState, SaleId};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::view::OrderView;
use super::{App, problems};
use crate::store::orders;

/// Longest reason a buyer may give.
const REASON_LIMIT: usize = 500;

/// The caller's orders, newest first.
#[utoipa::path(get, path = "/api/v1/orders", tag = "orders", operation_id = "listOrders",
    security(("bearer" = [])), params(PageQuery),
    responses(
        (status = 200, description = "A page of orders", body = Page<OrderView>),
        (status = 400, description = "`cursor-invalid`, `query-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation-failed`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`database-unavailable`", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn list(
    State(app): State<App>,
    Member(claims): Member,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<OrderView>>> {
    let limit = page.limit()?;
    let rows = orders::of_buyer(&app.pool, claims.sub, page.after()?, i64::from(limit) + 1).await?;
    Ok(Json(Page::from_rows(rows, limit, |order| order.id).map(OrderView::from)))
}

/// One order of the caller.
#[utoipa::path(get, path = "/api/v1/orders/{id}", tag = "orders", operation_id = "getOrder",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "Id of the order")),
    responses(
        (status = 200, description = "The order", body = OrderView),
        (status = 400, description = "`path-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`order-unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`database-unavailable`, `stock-unavailable`", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn one(
    State(app): State<App>,
    Member(claims): Member,
    Path(id): Path<Uuid>,
) -> Result<Json<OrderView>> {
    app.find_order(id, claims.sub).await.map(Json)
}

#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cancellation {
    /// Why, in the buyer's words; at most 500 characters.
    #[serde(default)]
    #[schema(max_length = 500)]
    pub reason: Option<String>,
}

/// Cancels an order that is not being paid for; its units go back on sale. May be repeated.
#[utoipa::path(post, path = "/api/v1/orders/{id}/cancel", tag = "orders", operation_id = "cancelOrder",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "Id of the order")),
    request_body = Cancellation,
    responses(
        (status = 200, description = "The order is cancelled", body = OrderView),
        (status = 400, description = "`path-invalid`, `malformed-json`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`order-unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`order-expired`, `order-not-cancellable`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation-failed`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`outcome-unknown`, `stock-unavailable`", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn cancel(
    State(app): State<App>,
    Member(claims): Member,
    Path(id): Path<Uuid>,
    Json(body): Json<Cancellation>,
) -> Result<Json<OrderView>> {
    let reason = body.reason.unwrap_or_default();
    if reason.chars().count() > REASON_LIMIT {
        let error =
            FieldError::new("reason", "length", format!("must have at most {REASON_LIMIT} characters"));
        return Err(Problem::validation(vec![error]));
    }
    for sale in app.sales.loaded() {
        let Some(cancelled) = app.cancel_in(sale, OrderId(id), BuyerId(claims.sub)).await? else { continue };
        tracing::info!(order = %id, reason, "cancelled by the buyer");
        return Ok(Json(cancelled));
    }
    Err(app.not_in_redis(id, claims.sub, "order-not-cancellable").await)
}

impl App {
    /// `None` when this sale does not know the order, or not as this buyer's.
    async fn cancel_in(&self, sale: SaleId, order: OrderId, buyer: BuyerId) -> Result<Option<OrderView>> {
        let Some(reservation) = self.stock.get(sale, order).await.map_err(problems::stock)? else {
            return Ok(None);
        };
        if reservation.buyer != buyer {
            return Err(problems::order_unknown());
        }
        // A payment under way decides by itself. Should it be submitted right after this look, the
        // cancel wins, and what was charged is given back.
        if reservation.state == ReservationState::PaymentSubmitted {
            return Err(Problem::conflict("order-not-cancellable", "its payment is under way"));
        }
        match self.stock.cancel(sale, order, buyer).await.map_err(problems::stock)? {
            ReleaseOutcome::Released => {}
            ReleaseOutcome::AlreadyReleased(rocketmart_stock::ReleaseReason::Cancelled) => {}
            ReleaseOutcome::AlreadyReleased(rocketmart_stock::ReleaseReason::Expired) => {
                return Err(Problem::conflict("order-expired", "the time to pay has passed already"));
            }
            ReleaseOutcome::AlreadyReleased(reason) => {
                return Err(Problem::conflict(
                    "order-not-cancellable",
                    format!("the order is {}", reason.as_str()),
                ));
            }
            ReleaseOutcome::AlreadyConfirmed | ReleaseOutcome::NotDue => {
                return Err(Problem::conflict("order-not-cancellable", "the order is paid"));
            }
            ReleaseOutcome::Unknown => return Ok(None),
        }
        let cancelled = self.stock.get(sale, order).await.map_err(problems::stock)?;
        Ok(cancelled.map(OrderView::from))
    }
}
