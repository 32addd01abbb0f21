//! `/api/v1/payment-methods`: the tokens a member keeps for paying.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use rocketmart_kit::auth::Member;
use rocketmart_kit::extract::{IdempotencyKey, Json, Path, Query};
use rocketmart_kit::idempotency;
use rocketmart_kit::page::{Page, PageQuery};
use rocketmart_kit::problem::{Problem, Result};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::App;
use crate::domain::method;
use crate::store::methods as store;

const ROUTE: &str = "POST /api/v1/payment-methods";

/// A card or account registered with the payment provider.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPaymentMethod {
    /// What the provider's tokenize endpoint gave for the card.
    #[schema(min_length = 5, max_length = 128, pattern = "^tok_[A-Za-z0-9_]+$", example = "tok_4f2a9c")]
    provider_token: String,
    /// What the member calls it. Card numbers are refused.
    #[schema(max_length = 64, example = "Visa 4242")]
    label: Option<String>,
    /// Makes it the default; the first one is in any case.
    #[serde(default)]
    default: bool,
}

#[derive(Serialize, ToSchema)]
pub(super) struct PaymentMethod {
    id: Uuid,
    label: Option<String>,
    default: bool,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl From<store::Method> for PaymentMethod {
    fn from(method: store::Method) -> Self {
        Self { id: method.id, label: method.label, default: method.is_default, created_at: method.created_at }
    }
}

/// Keep a payment method
#[utoipa::path(
    post, path = "/api/v1/payment-methods", tag = "payment methods", security(("bearer" = [])),
    params(("Idempotency-Key" = String, Header, description = "1–128 visible ASCII characters")),
    request_body = NewPaymentMethod,
    responses(
        (status = 201, description = "Kept", body = PaymentMethod),
        (status = 400, description = "`idempotency-key-missing`, `idempotency-key-invalid`, `malformed-json`",
         body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`too-many-payment-methods`, `request-in-progress`",
         body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation-failed`, `idempotency-key-reused`",
         body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn add(
    State(app): State<App>,
    Member(claims): Member,
    key: IdempotencyKey,
    Json(body): Json<NewPaymentMethod>,
) -> Result<Response> {
    let label = method::check(&body.provider_token, body.label.as_deref()).map_err(Problem::validation)?;
    let request_hash = idempotency::request_hash(&body);
    idempotency::once(&app.pool, claims.sub, ROUTE, &key, request_hash, move |connection| {
        async move {
            let NewPaymentMethod { provider_token, default, .. } = body;
            let added =
                store::add(connection, claims.sub, &provider_token, label.as_deref(), default).await?;
            let added = added.ok_or_else(|| {
                let detail = format!("a member keeps at most {}; delete one first", method::MOST_PER_MEMBER);
                Problem::conflict("too-many-payment-methods", detail)
            })?;
            Ok((StatusCode::CREATED, Json(PaymentMethod::from(added))).into_response())
        }
        .boxed()
    })
    .await
}

/// List payment methods
#[utoipa::path(
    get, path = "/api/v1/payment-methods", operation_id = "listPaymentMethods", tag = "payment methods", security(("bearer" = [])),
    params(PageQuery),
    responses(
        (status = 200, description = "Newest first", body = Page<PaymentMethod>),
        (status = 400, description = "`cursor-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation-failed`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(app): State<App>,
    Member(claims): Member,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<PaymentMethod>>> {
    let limit = query.limit()?;
    let rows = store::list(&app.pool, claims.sub, query.after()?, i64::from(limit) + 1).await?;
    Ok(Json(Page::from_rows(rows, limit, |last| last.id).map(Into::into)))
}

/// Forget a payment method
///
/// When it was the default, the newest of the others becomes the default.
#[utoipa::path(
    delete, path = "/api/v1/payment-methods/{id}", tag = "payment methods", security(("bearer" = [])),
    params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "Forgotten"),
        (status = 400, description = "`path-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`payment-method-unknown`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn remove(
    State(app): State<App>,
    Member(claims): Member,
    Path(id): Path<Uuid>,
) -> Result<StatusCode> {
    found(store::remove(&app.pool, claims.sub, id).await?)
}

/// Make a payment method the default
#[utoipa::path(
    put, path = "/api/v1/payment-methods/{id}/default", tag = "payment methods", security(("bearer" = [])),
    params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "It is the default"),
        (status = 400, description = "`path-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`payment-method-unknown`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn make_default(
    State(app): State<App>,
    Member(claims): Member,
    Path(id): Path<Uuid>,
) -> Result<StatusCode> {
    found(store::make_default(&app.pool, claims.sub, id).await?)
}

fn found(found: bool) -> Result<StatusCode> {
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("payment-method-unknown")) }
}
