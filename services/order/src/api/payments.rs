//! Paying for an order, in one step or in two: say how, then confirm.
//!
//! Redis decides whether the order may still be paid; from then on the reservation waits for the
//! outcome of the payment and does not expire. The charge itself is the payment service's.

use axum::extract::State;
use axum::http::StatusCode;
use rocketmart_kit::auth::Member;
use rocketmart_kit::extract::{Json, Path};
use rocketmart_kit::problem::{Problem, Result};
use rocketmart_kit::trace;
use rocketmart_stock::{
    BuyerId, OrderId, PaymentDetails, PaymentOutcome, ReleaseReason, Reservation, SaleId, StockError,
    SubmitPayment,
};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::view::OrderView;
use super::{App, problems};
use crate::domain::order::Order;
use crate::domain::state::OrderState;
use crate::store::orders;

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PaymentWish {
    /// A payment method of the buyer; the default one if left out.
    #[serde(default)]
    pub payment_method_id: Option<Uuid>,
    /// An address of the buyer; the default one if left out.
    #[serde(default)]
    pub delivery_address_id: Option<Uuid>,
    /// `false`: only say how to pay, and confirm later.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub confirm: bool,
}

fn yes() -> bool {
    true
}

/// Pays for an order, or says how it will be paid. May be repeated.
#[utoipa::path(post, path = "/api/v1/orders/{id}/payment", tag = "orders", operation_id = "payOrder",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "Id of the order")),
    request_body = PaymentWish,
    responses(
        (status = 202, description = "The payment is under way, or waits to be confirmed", body = OrderView),
        (status = 400, description = "`path-invalid`, `malformed-json`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`order-unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`order-expired`, `order-not-payable`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation-failed`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`overloaded`: nothing was changed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`sale-paused`, `outcome-unknown`, `stock-unavailable`", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn pay(
    State(app): State<App>,
    Member(claims): Member,
    Path(id): Path<Uuid>,
    Json(wish): Json<PaymentWish>,
) -> Result<(StatusCode, Json<OrderView>)> {
    let details = PaymentDetails {
        payment_method_id: wish.payment_method_id,
        delivery_address_id: wish.delivery_address_id,
    };
    let step = if wish.confirm { Step::Submit(Some(details)) } else { Step::Prepare(details) };
    app.advance(id, claims.sub, step).await
}

/// Confirms a payment that was prepared with `confirm: false`. May be repeated.
#[utoipa::path(post, path = "/api/v1/orders/{id}/payment/confirm", tag = "orders",
    operation_id = "confirmPayment", security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "Id of the order")),
    responses(
        (status = 202, description = "The payment is under way", body = OrderView),
        (status = 400, description = "`path-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`order-unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`order-expired`, `order-not-payable`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`overloaded`: nothing was changed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`sale-paused`, `outcome-unknown`, `stock-unavailable`", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn confirm(
    State(app): State<App>,
    Member(claims): Member,
    Path(id): Path<Uuid>,
) -> Result<(StatusCode, Json<OrderView>)> {
    app.advance(id, claims.sub, Step::Submit(None)).await
}

#[derive(Clone, Copy)]
enum Step {
    Prepare(PaymentDetails),
    /// `None`: as prepared before.
    Submit(Option<PaymentDetails>),
}

impl Step {
    /// Whether the order was paid for as this step says. What it leaves out it leaves to the shop.
    fn is_as(self, order: &Order) -> bool {
        let (Self::Prepare(details) | Self::Submit(Some(details))) = self else { return true };
        let same = |said: Option<Uuid>, done| said.is_none() || said == done;
        same(details.payment_method_id, order.payment.method_id)
            && same(details.delivery_address_id, order.delivery_address_id)
    }
}

impl App {
    async fn advance(&self, id: Uuid, buyer: Uuid, step: Step) -> Result<(StatusCode, Json<OrderView>)> {
        let mut places = self.places_of(id, buyer);
        while let Some(sale) = places.next().await? {
            let outcome =
                self.try_in(sale, OrderId(id), BuyerId(buyer), step).await.map_err(problems::stock)?;
            if let Some(decided) = decided(outcome) {
                return Ok((StatusCode::ACCEPTED, Json(decided?.into())));
            }
        }
        self.advanced(id, buyer, step).await.map(|order| (StatusCode::ACCEPTED, Json(order.into())))
    }

    /// The order that Redis does not know any more, if this step was taken before: a repetition is answered
    /// as the first one was, however long ago that is.
    async fn advanced(&self, id: Uuid, buyer: Uuid, step: Step) -> Result<Order> {
        let found = orders::find(&self.pool, &[id]).await?.into_iter().find(|order| order.buyer_id == buyer);
        let order = found.ok_or_else(problems::order_unknown)?;
        match order.state {
            // Redis has lost it.
            OrderState::Reserved => Err(problems::sale_paused()),
            OrderState::Expired => Err(expired()),
            _ if order.was_paid() && step.is_as(&order) => Ok(order),
            _ if order.was_paid() => {
                Err(Problem::conflict("order-not-payable", "the order was paid for in another way"))
            }
            state => Err(Problem::conflict("order-not-payable", format!("the order is {state}"))),
        }
    }

    async fn try_in(
        &self,
        sale: SaleId,
        order: OrderId,
        buyer: BuyerId,
        step: Step,
    ) -> Result<PaymentOutcome, StockError> {
        match step {
            Step::Prepare(details) => self.stock.prepare_payment(sale, order, buyer, details).await,
            Step::Submit(details) => {
                let traceparent = trace::current().map(|context| context.to_string());
                let wish = SubmitPayment { sale, order, buyer, details, traceparent };
                match self.coalescer.submit_payment(wish.clone()).await {
                    // Submitting twice is submitting once.
                    Err(StockError::Unknown(_)) => self.coalescer.submit_payment(wish).await,
                    answer => answer,
                }
            }
        }
    }
}

fn expired() -> Problem {
    Problem::conflict("order-expired", "the time to pay has passed; the units went back on sale")
}

/// `None` when this sale does not know the order.
fn decided(outcome: PaymentOutcome) -> Option<Result<Reservation>> {
    Some(match outcome {
        PaymentOutcome::Prepared(reservation)
        | PaymentOutcome::Submitted(reservation)
        | PaymentOutcome::AlreadySubmitted(reservation) => Ok(reservation),
        PaymentOutcome::Released(ReleaseReason::Expired) => Err(expired()),
        PaymentOutcome::Released(reason) => {
            Err(Problem::conflict("order-not-payable", format!("the order is {}", reason.as_str())))
        }
        PaymentOutcome::NotPrepared => Err(Problem::conflict(
            "order-not-payable",
            "there is no payment to confirm: say first how to pay",
        )),
        PaymentOutcome::Unknown => return None,
    })
}
