//! Cancelling an order. An unpaid order is cancelled at once; for a paid one we ask delivery.

use axum::extract::State;
use axum::http::StatusCode;
use rocketmart_kit::auth::Member;
use rocketmart_kit::extract::{Json, Path};
use rocketmart_kit::problem::{Problem, Result};
use rocketmart_stock::{BuyerId, OrderId, ReleaseOutcome, ReleaseReason, ReservationState, SaleId};
use serde::Deserialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::view::OrderView;
use super::{App, SOURCE, problems, reason};
use crate::domain::batch::Batch;
use crate::domain::state::OrderState;
use crate::store::clock::ms;
use crate::store::{self, orders};

#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cancellation {
    /// Why, in the buyer's words; at most 500 characters.
    #[serde(default)]
    #[schema(max_length = 500)]
    pub reason: Option<String>,
}

/// Cancels an order. May be repeated.
///
/// One that is not paid is cancelled at once, and its units go back on sale. For one that is paid
/// delivery is asked to keep the parcel: the order shows a pending cancellation until it answers.
#[utoipa::path(post, path = "/api/v1/orders/{id}/cancel", tag = "orders", operation_id = "cancelOrder",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "Id of the order")),
    request_body = Cancellation,
    responses(
        (status = 200, description = "The order is cancelled", body = OrderView),
        (status = 202, description = "The order is paid: delivery decides whether the parcel can be kept", body = OrderView),
        (status = 400, description = "`path-invalid`, `malformed-json`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`order-unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`order-expired`, `order-not-cancellable`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation-failed`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`sale-paused`, `outcome-unknown`, `stock-unavailable`, `database-unavailable`", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn cancel(
    State(app): State<App>,
    Member(claims): Member,
    Path(id): Path<Uuid>,
    Json(body): Json<Cancellation>,
) -> Result<(StatusCode, Json<OrderView>)> {
    let reason =
        reason::optional(body.reason.as_deref()).map_err(|error| Problem::validation(vec![error]))?;
    let mut places = app.places_of(id, claims.sub);
    while let Some(sale) = places.next().await? {
        match app.cancel_in(sale, OrderId(id), BuyerId(claims.sub)).await? {
            InRedis::Cancelled(view) => {
                tracing::info!(order = %id, reason, "cancelled by the buyer");
                return Ok((StatusCode::OK, Json(*view)));
            }
            InRedis::Paid => return app.cancel_paid(id, claims.sub, reason, being_booked).await,
            InRedis::Unknown => {}
        }
    }
    app.cancel_paid(id, claims.sub, reason, problems::sale_paused).await
}

enum InRedis {
    Cancelled(Box<OrderView>),
    /// Redis has nothing left to decide.
    Paid,
    Unknown,
}

impl App {
    async fn cancel_in(&self, sale: SaleId, order: OrderId, buyer: BuyerId) -> Result<InRedis> {
        let Some(reservation) = self.stock.get(sale, order).await.map_err(problems::stock)? else {
            return Ok(InRedis::Unknown);
        };
        if reservation.buyer != buyer {
            return Err(problems::order_unknown());
        }
        // A payment under way decides by itself. If the buyer submits one right after this look, the
        // cancellation wins, and what was charged goes back.
        if reservation.state == ReservationState::PaymentSubmitted {
            return Err(not_cancellable("its payment is under way"));
        }
        match self.stock.cancel(sale, order, buyer).await.map_err(problems::stock)? {
            ReleaseOutcome::Released | ReleaseOutcome::AlreadyReleased(ReleaseReason::Cancelled) => {}
            ReleaseOutcome::AlreadyReleased(ReleaseReason::Expired) => {
                return Err(Problem::conflict("order-expired", "the time to pay has passed already"));
            }
            ReleaseOutcome::AlreadyReleased(reason) => {
                return Err(not_cancellable(format!("the order is {}", reason.as_str())));
            }
            ReleaseOutcome::AlreadyConfirmed | ReleaseOutcome::NotDue => return Ok(InRedis::Paid),
            ReleaseOutcome::Unknown => return Ok(InRedis::Unknown),
        }
        let cancelled = self.stock.get(sale, order).await.map_err(problems::stock)?;
        Ok(cancelled.map_or(InRedis::Unknown, |found| InRedis::Cancelled(Box::new(found.into()))))
    }

    /// Notes the wish and tells delivery, in one transaction. `unpaid` is the answer for an order that the
    /// books do not have as paid.
    async fn cancel_paid(
        &self,
        id: Uuid,
        buyer: Uuid,
        reason: Option<String>,
        unpaid: fn() -> Problem,
    ) -> Result<(StatusCode, Json<OrderView>)> {
        let mut tx = self.pool.begin().await?;
        let found = orders::lock(&mut tx, &[id]).await?;
        let Some(order) = found.into_iter().find(|order| order.buyer_id == buyer) else {
            return Err(problems::order_unknown());
        };
        if order.state == OrderState::Reserved {
            return Err(unpaid());
        }
        if order.state == OrderState::Expired {
            return Err(Problem::conflict("order-expired", "the time to pay has passed already"));
        }
        let mut batch = Batch::new([order]);
        let now_ms = ms(OffsetDateTime::now_utc());
        batch
            .decide(id, |order, effects| order.request_cancellation(reason, now_ms, effects))
            .ok_or_else(problems::order_unknown)?
            .map_err(|refused| not_cancellable(refused.to_string()))?;
        let outcome = batch.finish();
        let told = store::told(SOURCE, &outcome);
        store::write(&mut tx, &outcome, &told, |_| "cancel".to_owned()).await?;
        tx.commit().await?;
        let view =
            outcome.changed.into_iter().next().map(OrderView::from).ok_or_else(problems::order_unknown)?;
        let status = if view.state == OrderState::Cancelled { StatusCode::OK } else { StatusCode::ACCEPTED };
        Ok((status, Json(view)))
    }
}

/// Redis says the order is paid.
fn being_booked() -> Problem {
    not_cancellable("its payment is being booked; try again in a moment")
}

fn not_cancellable(detail: impl Into<String>) -> Problem {
    Problem::conflict("order-not-cancellable", detail)
}
