//! Paying for an order, in one step or in two: first say how, then confirm.
//!
//! We first ask for card and address where they are kept ([`neighbours`](super::neighbours)); from then on
//! their ids are fixed. Redis decides whether the order may still be paid. Then the reservation waits for
//! the outcome of the payment and does not expire. The payment service makes the charge itself.

use axum::extract::State;
use axum::http::StatusCode;
use rocketmart_kit::auth::Member;
use rocketmart_kit::extract::{Json, Path};
use rocketmart_kit::problem::{Problem, Result};
use rocketmart_kit::trace;
use rocketmart_stock::{
    BuyerId, OrderId, PaymentDetails, PaymentOutcome, ReleaseReason, Reservation, ReservationState, SaleId,
    StockError, SubmitPayment,
};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::neighbours::Refusal;
use super::view::{OrderView, PaymentProgress};
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
///
/// While a payment is under way no other card is taken; when it has failed, another one may be tried until
/// `pay_by`.
#[utoipa::path(post, path = "/api/v1/orders/{id}/payment", tag = "orders", operation_id = "payOrder",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "Id of the order")),
    request_body = PaymentWish,
    responses(
        (status = 202, description = "The payment is under way, or waits to be confirmed", body = OrderView),
        (status = 400, description = "`path-invalid`, `malformed-json`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`order-unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`order-expired`, `order-not-payable`; `payment-under-way`: another card or address was submitted before",
         body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation-failed`; `payment-method-unknown`, `delivery-address-unknown`: it is none of the buyer's, or deleted; \
            `payment-method-missing`, `delivery-address-missing`: none was named, and the buyer has no default",
         body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`overloaded`: nothing was changed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`sale-paused`, `outcome-unknown`, `stock-unavailable`", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn pay(
    State(app): State<App>,
    Member(claims): Member,
    Path(id): Path<Uuid>,
    Json(wish): Json<PaymentWish>,
) -> Result<(StatusCode, Json<OrderView>)> {
    let wished = PaymentDetails {
        payment_method_id: wish.payment_method_id,
        delivery_address_id: wish.delivery_address_id,
    };
    let details = match app.neighbours.choose(claims.sub, wished).await {
        Ok(details) => details,
        Err(refusal) => app.still_refused(id, claims.sub, refusal).await?.map_or(Ok(wished), Err)?,
    };
    let step = if wish.confirm { Step::Submit(Some(details)) } else { Step::Prepare(details) };
    app.advance(id, claims.sub, step, wished).await
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
    app.advance(id, claims.sub, Step::Submit(None), PaymentDetails::default()).await
}

#[derive(Clone, Copy)]
enum Step {
    Prepare(PaymentDetails),
    /// `None`: as prepared before.
    Submit(Option<PaymentDetails>),
}

impl App {
    /// What is wrong with the way the order is to be paid, unless there is other news: the order is not
    /// this buyer's, is over, is already paid (with whatever card), or costs nothing.
    async fn still_refused(&self, id: Uuid, buyer: Uuid, refusal: Refusal) -> Result<Option<Problem>> {
        let order = self.find_order(id, buyer).await?;
        let is_payable = order.state == OrderState::Reserved
            && order.payment.is_none_or(|payment| payment.state != PaymentProgress::Requested);
        let refusal = if order.amount == 0 { refusal.of_a_free_order() } else { Some(refusal) };
        Ok(refusal.filter(|_| is_payable).map(Problem::from))
    }

    /// `wished` is the card and the address that the buyer named, before we looked them up.
    async fn advance(
        &self,
        id: Uuid,
        buyer: Uuid,
        step: Step,
        wished: PaymentDetails,
    ) -> Result<(StatusCode, Json<OrderView>)> {
        let mut places = self.places_of(id, buyer);
        while let Some(sale) = places.next().await? {
            let outcome =
                self.try_in(sale, OrderId(id), BuyerId(buyer), step).await.map_err(problems::stock)?;
            if let Some(decided) = decided(outcome, wished) {
                return Ok((StatusCode::ACCEPTED, Json(decided?.into())));
            }
        }
        self.advanced(id, buyer, wished).await.map(|order| (StatusCode::ACCEPTED, Json(order.into())))
    }

    /// The answer for an order that Redis no longer knows, if this step was taken before. A repetition gets
    /// the answer that the first request got, however long ago that was.
    async fn advanced(&self, id: Uuid, buyer: Uuid, wished: PaymentDetails) -> Result<Order> {
        let found = orders::find(&self.pool, &[id]).await?.into_iter().find(|order| order.buyer_id == buyer);
        let order = found.ok_or_else(problems::order_unknown)?;
        match order.state {
            // Redis has lost the order.
            OrderState::Reserved => Err(problems::sale_paused()),
            OrderState::Expired => Err(expired()),
            _ if !order.was_paid() => {
                Err(Problem::conflict("order-not-payable", format!("the order is {}", order.state)))
            }
            _ if is_other(wished, order.payment.method_id, order.delivery_address_id) => {
                Err(paid_otherwise())
            }
            _ => Ok(order),
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
fn decided(outcome: PaymentOutcome, wished: PaymentDetails) -> Option<Result<Reservation>> {
    Some(match outcome {
        PaymentOutcome::Prepared(reservation) | PaymentOutcome::Submitted(reservation) => Ok(reservation),
        PaymentOutcome::AlreadySubmitted(reservation) => as_submitted(reservation, wished),
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

/// A payment that was submitted before answers the same wish again, but not a wish for another card or
/// another address.
fn as_submitted(reservation: Reservation, wished: PaymentDetails) -> Result<Reservation> {
    if !is_other(wished, reservation.payment_method_id, reservation.delivery_address_id) {
        return Ok(reservation);
    }
    if reservation.state == ReservationState::Confirmed {
        return Err(paid_otherwise());
    }
    let detail = "a payment with another card or to another address is under way; should it fail, try again";
    Err(Problem::conflict("payment-under-way", detail))
}

/// Whether the buyer named another card or address than these. A buyer who named none leaves it open.
fn is_other(wished: PaymentDetails, method: Option<Uuid>, address: Option<Uuid>) -> bool {
    let differs = |wished: Option<Uuid>, had| wished.is_some() && wished != had;
    differs(wished.payment_method_id, method) || differs(wished.delivery_address_id, address)
}

fn paid_otherwise() -> Problem {
    Problem::conflict("order-not-payable", "the order is paid, in another way than this")
}
