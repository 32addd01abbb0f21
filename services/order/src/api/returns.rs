//! `POST /api/v1/orders/{id}/returns`: sending back what was delivered.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use rocketmart_kit::auth::Member;
use rocketmart_kit::extract::{IdempotencyKey, Json, Path};
use rocketmart_kit::problem::{FieldError, Problem, Result};
use rocketmart_kit::{idempotency, list};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;
use uuid::Uuid;

use super::view::ReturnView;
use super::{App, SOURCE, problems, reason};
use crate::domain::batch::Batch;
use crate::domain::order::Units;
use crate::domain::returns::{NotReturnable, Return};
use crate::store::clock::{at, ms};
use crate::store::{self, orders};

const ROUTE: &str = "POST /api/v1/orders/{id}/returns";
/// The most lines in one return: an order has no more.
const MAX_LINES: usize = 100;

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReturnWish {
    /// What to send back; everything that is left, if missing.
    #[serde(default, deserialize_with = "list::optional_at_most::<100, _, _>")]
    #[schema(max_items = 100)]
    pub lines: Option<Vec<Units>>,
    /// Why, in the buyer's words.
    #[schema(min_length = 1, max_length = 500)]
    pub reason: String,
}

/// Announces that a delivered order, or a part of it, is sent back.
///
/// Its money goes back once the parcel is received.
#[utoipa::path(post, path = "/api/v1/orders/{id}/returns", tag = "orders", operation_id = "returnOrder",
    security(("bearer" = [])),
    params(
        ("id" = Uuid, Path, description = "Id of the order"),
        ("Idempotency-Key" = String, Header, description = "1–128 visible ASCII characters"),
    ),
    request_body = ReturnWish,
    responses(
        (status = 201, description = "The return is announced", body = ReturnView),
        (status = 400, description = "`path-invalid`, `malformed-json`, `idempotency-key-missing`, `idempotency-key-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`order-unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`order-not-returnable`, `return-window-over` (with `until`), `request-in-progress`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation-failed`, `idempotency-key-reused`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`database-unavailable`", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn create(
    State(app): State<App>,
    Member(claims): Member,
    Path(id): Path<Uuid>,
    key: IdempotencyKey,
    Json(wish): Json<ReturnWish>,
) -> Result<Response> {
    let hash = idempotency::request_hash(&(id, &wish));
    let wish = checked(wish)?;
    let window_ms = i64::try_from(app.return_window.whole_milliseconds()).map_err(Problem::internal)?;
    let buyer = claims.sub;
    let answer = idempotency::once(&app.pool, buyer, ROUTE, &key, hash, move |connection| {
        async move {
            let made = announce(connection, id, buyer, wish, window_ms).await?;
            Ok((StatusCode::CREATED, Json(ReturnView::from(made))).into_response())
        }
        .boxed()
    })
    .await;
    match answer {
        // The order was made a moment ago, so only Redis has it: it exists, and is not delivered.
        Err(unknown) if unknown.status == StatusCode::NOT_FOUND => {
            let held = app.held_order(id, buyer).await?;
            Err(held.map_or(unknown, |order| refused(NotReturnable::State(order.state))))
        }
        answer => answer,
    }
}

async fn announce(
    tx: &mut PgConnection,
    id: Uuid,
    buyer: Uuid,
    wish: ReturnWish,
    window_ms: i64,
) -> Result<Return> {
    let found = orders::lock(tx, &[id]).await?;
    let mut batch = Batch::new(found.into_iter().filter(|order| order.buyer_id == buyer));
    let now_ms = ms(OffsetDateTime::now_utc());
    let made = batch
        .decide(id, |order, effects| {
            order.request_return(Uuid::now_v7(), wish.lines, wish.reason, now_ms, window_ms, effects)
        })
        .ok_or_else(problems::order_unknown)?
        .map_err(refused)?;
    let outcome = batch.finish();
    let told = store::told(SOURCE, &outcome);
    store::write(tx, &outcome, &told, |_| format!("return {}", made.id)).await?;
    Ok(made)
}

/// The wish, with its reason as we keep it.
fn checked(wish: ReturnWish) -> Result<ReturnWish> {
    let mut errors = Vec::new();
    let reason = reason::given(&wish.reason).unwrap_or_else(|error| {
        errors.push(error);
        String::new()
    });
    if wish.lines.as_ref().is_some_and(|lines| !(1..=MAX_LINES).contains(&lines.len())) {
        errors.push(FieldError::new("lines", "length", format!("must have 1 to {MAX_LINES} lines")));
    }
    for (index, line) in wish.lines.iter().flatten().enumerate() {
        if line.sku.is_empty() || line.sku.len() > 128 || !line.sku.bytes().all(|b| b.is_ascii_graphic()) {
            let detail = "must be 1 to 128 visible ASCII characters";
            errors.push(FieldError::new(format!("lines[{index}].sku"), "format", detail));
        }
        if line.quantity < 1 {
            let field = format!("lines[{index}].quantity");
            errors.push(FieldError::new(field, "at-least-one", "must be at least 1"));
        }
    }
    if errors.is_empty() { Ok(ReturnWish { reason, ..wish }) } else { Err(Problem::validation(errors)) }
}

fn refused(reason: NotReturnable) -> Problem {
    match reason {
        NotReturnable::Line { index, field, rule, detail } => {
            Problem::validation(vec![FieldError::new(format!("lines[{index}].{field}"), rule, detail)])
        }
        NotReturnable::TooLate { until_ms } => {
            let until = at(until_ms).format(&Rfc3339).unwrap_or_default();
            Problem::conflict("return-window-over", reason.to_string()).with("until", until)
        }
        NotReturnable::State(_) | NotReturnable::NothingLeft => {
            Problem::conflict("order-not-returnable", reason.to_string())
        }
    }
}
