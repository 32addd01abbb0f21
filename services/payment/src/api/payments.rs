//! `/api/v1/payments`: what became of a buyer's payments.

use axum::extract::State;
use rocketmart_kit::auth::Member;
use rocketmart_kit::extract::{Json, Path, Query};
use rocketmart_kit::page::{Page, PageQuery};
use rocketmart_kit::problem::{Problem, Result};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::App;
use crate::domain::payment::PaymentState;
use crate::store::reading::{self, PaymentRow, Place, RefundRow};

#[derive(Serialize, ToSchema)]
pub(super) struct Payment {
    id: Uuid,
    order_id: Uuid,
    payment_method_id: Option<Uuid>,
    state: PaymentState,
    /// Why it failed or was voided.
    reason: Option<String>,
    /// Which attempt of the buyer's this is: above 1 when other cards failed before.
    #[schema(minimum = 1)]
    attempt: i32,
    /// Minor units of `currency`.
    amount: i64,
    /// ISO 4217.
    currency: String,
    /// Minor units given back or about to be.
    refunded: i64,
    refunds: Vec<Refund>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    settled_at: Option<OffsetDateTime>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Refund {
    id: Uuid,
    /// Minor units of the payment's currency.
    amount: i64,
    reason: String,
    /// What the order calls it, a return's id for instance.
    reference: Option<Uuid>,
    #[schema(example = "succeeded", pattern = "^(requested|processing|succeeded|failed)$")]
    state: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    settled_at: Option<OffsetDateTime>,
}

impl Payment {
    fn from_rows(row: PaymentRow, refunds: Vec<RefundRow>) -> anyhow::Result<Self> {
        let state = PaymentState::parse(&row.state)
            .ok_or_else(|| anyhow::anyhow!("payment {} has the state {:?}", row.id, row.state))?;
        Ok(Self {
            id: row.id,
            order_id: row.order_id,
            payment_method_id: row.payment_method_id,
            state,
            reason: row.reason,
            attempt: row.request,
            amount: row.amount,
            currency: row.currency,
            refunded: row.refunded,
            refunds: refunds.into_iter().map(Into::into).collect(),
            created_at: row.created_at,
            settled_at: row.settled_at,
        })
    }
}

impl From<RefundRow> for Refund {
    fn from(row: RefundRow) -> Self {
        Self {
            id: row.id,
            amount: row.amount,
            reason: row.reason,
            reference: row.reference,
            state: row.state,
            created_at: row.created_at,
            settled_at: row.settled_at,
        }
    }
}

/// List payments
#[utoipa::path(
    get, path = "/api/v1/payments", operation_id = "listPayments", tag = "payments", security(("bearer" = [])),
    params(PageQuery),
    responses(
        (status = 200, description = "Newest first", body = Page<Payment>),
        (status = 400, description = "`cursor-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation-failed`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(app): State<App>,
    Member(claims): Member,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Payment>>> {
    let limit = query.limit()?;
    let rows = reading::list(&app.pool, claims.sub, query.after::<Place>()?, i64::from(limit) + 1).await?;
    let page = Page::from_rows(rows, limit, |last| (last.created_at, last.id));
    let ids: Vec<Uuid> = page.data.iter().map(|row| row.id).collect();
    let mut refunds = reading::refunds(&app.pool, &ids).await?;
    let data = page.data.into_iter().map(|row| {
        let refunds = refunds.remove(&row.id).unwrap_or_default();
        Payment::from_rows(row, refunds)
    });
    let data = data.collect::<anyhow::Result<_>>()?;
    Ok(Json(Page { data, next_cursor: page.next_cursor, has_more: page.has_more }))
}

/// See a payment
#[utoipa::path(
    get, path = "/api/v1/payments/{id}", tag = "payments", security(("bearer" = [])),
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "The payment and its refunds", body = Payment),
        (status = 400, description = "`path-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`payment-unknown`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn one(
    State(app): State<App>,
    Member(claims): Member,
    Path(id): Path<Uuid>,
) -> Result<Json<Payment>> {
    let row = reading::one(&app.pool, claims.sub, id).await?;
    let row = row.ok_or_else(|| Problem::not_found("payment-unknown"))?;
    let refunds = reading::refunds(&app.pool, &[id]).await?.remove(&id).unwrap_or_default();
    Ok(Json(Payment::from_rows(row, refunds)?))
}
