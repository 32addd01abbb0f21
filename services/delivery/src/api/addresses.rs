//! `/api/v1/addresses`: where a member wants parcels delivered.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use rocketmart_kit::auth::Member;
use rocketmart_kit::extract::{IdempotencyKey, Json, Path, Query};
use rocketmart_kit::idempotency;
use rocketmart_kit::page::{Page, PageQuery};
use rocketmart_kit::problem::{Problem, Result};
use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::App;
use crate::domain::address::{self, Draft};
use crate::store::addresses::{self as store, AddressRow};

const ROUTE: &str = "POST /api/v1/addresses";

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAddress {
    #[schema(min_length = 1, max_length = 100, example = "홍길동")]
    recipient: String,
    #[schema(min_length = 1, max_length = 200, example = "세종대로 110")]
    line1: String,
    /// Here and below, an empty text is the same as none.
    #[schema(max_length = 200)]
    line2: Option<String>,
    /// Where the country's addresses have one (in Singapore, say, they have not).
    #[schema(max_length = 100, example = "서울")]
    city: Option<String>,
    #[schema(max_length = 100)]
    region: Option<String>,
    /// Where the country's addresses have one (in Hong Kong, say, they have not).
    #[schema(max_length = 16, example = "04524")]
    postal_code: Option<String>,
    /// ISO 3166-1 alpha-2.
    #[schema(pattern = "^[A-Z]{2}$", example = "KR")]
    country: String,
    /// As it is written in `country`, or with a country code; kept as E.164, with `;ext=` and its extension.
    #[schema(max_length = 64, example = "02-120-0000")]
    phone: Option<String>,
    /// Makes it the default; the first one is in any case.
    #[serde(default)]
    default: bool,
}

/// What to change; fields left out stay, `null` clears an optional one.
#[derive(Deserialize, ToSchema)]
#[expect(clippy::option_option, reason = "left out and null are different things here")]
#[serde(deny_unknown_fields)]
pub(super) struct AddressChange {
    #[schema(min_length = 1, max_length = 100)]
    recipient: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    line1: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 200)]
    line2: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 100)]
    city: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 100)]
    region: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 16)]
    postal_code: Option<Option<String>>,
    /// ISO 3166-1 alpha-2.
    #[schema(pattern = "^[A-Z]{2}$")]
    country: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 64)]
    phone: Option<Option<String>>,
}

/// Distinguishes a field that is `null` (`Some(None)`) from one that is left out (`None`).
#[expect(clippy::option_option, reason = "three cases: left out, null, a value")]
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[derive(Serialize, ToSchema)]
pub(super) struct Address {
    id: Uuid,
    recipient: String,
    line1: String,
    line2: Option<String>,
    city: Option<String>,
    region: Option<String>,
    postal_code: Option<String>,
    country: String,
    /// E.164, with `;ext=` and the extension if there is one.
    phone: Option<String>,
    default: bool,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl From<AddressRow> for Address {
    fn from(row: AddressRow) -> Self {
        let (id, default, created_at) = (row.id, row.is_default, row.created_at);
        let Draft { recipient, line1, line2, city, region, postal_code, country, phone } = row.into();
        Self { id, recipient, line1, line2, city, region, postal_code, country, phone, default, created_at }
    }
}

impl NewAddress {
    fn draft(&self) -> Draft {
        Draft {
            recipient: self.recipient.clone(),
            line1: self.line1.clone(),
            line2: self.line2.clone(),
            city: self.city.clone(),
            region: self.region.clone(),
            postal_code: self.postal_code.clone(),
            country: self.country.clone(),
            phone: self.phone.clone(),
        }
    }
}

impl AddressChange {
    fn applied_to(self, current: Draft) -> Draft {
        Draft {
            recipient: self.recipient.unwrap_or(current.recipient),
            line1: self.line1.unwrap_or(current.line1),
            line2: self.line2.unwrap_or(current.line2),
            city: self.city.unwrap_or(current.city),
            region: self.region.unwrap_or(current.region),
            postal_code: self.postal_code.unwrap_or(current.postal_code),
            country: self.country.unwrap_or(current.country),
            phone: self.phone.unwrap_or(current.phone),
        }
    }
}

fn validated(draft: Draft) -> Result<address::Address> {
    address::Address::new(draft).map_err(|broken| match broken.finish() {
        Err(problem) => problem,
        Ok(()) => Problem::internal(anyhow::anyhow!("an address was refused that breaks no rule")),
    })
}

/// Add an address
#[utoipa::path(
    post, path = "/api/v1/addresses", operation_id = "add_address", tag = "addresses", security(("bearer" = [])),
    params(("Idempotency-Key" = String, Header, description = "1–128 visible ASCII characters")),
    request_body = NewAddress,
    responses(
        (status = 201, description = "Added", body = Address),
        (status = 400, description = "`idempotency-key-missing`, `idempotency-key-invalid`, `malformed-json`",
         body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`too-many-addresses`, `request-in-progress`",
         body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation-failed`, `idempotency-key-reused`",
         body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn add(
    State(app): State<App>,
    Member(claims): Member,
    key: IdempotencyKey,
    Json(body): Json<NewAddress>,
) -> Result<Response> {
    let address = validated(body.draft())?;
    let request_hash = idempotency::request_hash(&body);
    idempotency::once(&app.pool, claims.sub, ROUTE, &key, request_hash, move |connection| {
        async move {
            let added = store::add(connection, claims.sub, &address, body.default).await?;
            let added = added.ok_or_else(|| {
                let detail = format!("a member keeps at most {}; delete one first", address::MOST_PER_MEMBER);
                Problem::conflict("too-many-addresses", detail)
            })?;
            Ok((StatusCode::CREATED, Json(Address::from(added))).into_response())
        }
        .boxed()
    })
    .await
}

/// List addresses
#[utoipa::path(
    get, path = "/api/v1/addresses", operation_id = "list_addresses", tag = "addresses", security(("bearer" = [])),
    params(PageQuery),
    responses(
        (status = 200, description = "Newest first", body = Page<Address>),
        (status = 400, description = "`cursor-invalid`, `query-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation-failed`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(app): State<App>,
    Member(claims): Member,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Address>>> {
    let limit = query.limit()?;
    let rows = store::list(&app.pool, claims.sub, query.after()?, i64::from(limit) + 1).await?;
    Ok(Json(Page::from_rows(rows, limit, |last| last.id).map(Into::into)))
}

/// See an address
#[utoipa::path(
    get, path = "/api/v1/addresses/{id}", operation_id = "get_address", tag = "addresses", security(("bearer" = [])),
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "The address", body = Address),
        (status = 400, description = "`path-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`address-unknown`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn one(
    State(app): State<App>,
    Member(claims): Member,
    Path(id): Path<Uuid>,
) -> Result<Json<Address>> {
    let row = store::one(&app.pool, claims.sub, id).await?.ok_or_else(unknown)?;
    Ok(Json(row.into()))
}

/// Change an address
///
/// Shipments that exist keep the address they were made with.
#[utoipa::path(
    patch, path = "/api/v1/addresses/{id}", operation_id = "change_address", tag = "addresses", security(("bearer" = [])),
    params(("id" = Uuid, Path)),
    request_body = AddressChange,
    responses(
        (status = 200, description = "The address as it is now", body = Address),
        (status = 400, description = "`path-invalid`, `malformed-json`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`address-unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation-failed`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn change(
    State(app): State<App>,
    Member(claims): Member,
    Path(id): Path<Uuid>,
    Json(body): Json<AddressChange>,
) -> Result<Json<Address>> {
    let mut tx = app.pool.begin().await?;
    let current = store::lock(&mut tx, claims.sub, id).await?.ok_or_else(unknown)?;
    let address = validated(body.applied_to(current.into()))?;
    let changed = store::change(&mut tx, id, &address).await?;
    tx.commit().await?;
    Ok(Json(changed.into()))
}

/// Delete an address
///
/// Orders that chose it are still delivered there. When it was the default, the newest of the others
/// becomes the default.
#[utoipa::path(
    delete, path = "/api/v1/addresses/{id}", operation_id = "remove_address", tag = "addresses", security(("bearer" = [])),
    params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "Deleted"),
        (status = 400, description = "`path-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`address-unknown`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn remove(
    State(app): State<App>,
    Member(claims): Member,
    Path(id): Path<Uuid>,
) -> Result<StatusCode> {
    found(store::remove(&app.pool, claims.sub, id).await?)
}

/// Make an address the default
#[utoipa::path(
    put, path = "/api/v1/addresses/{id}/default", operation_id = "make_address_default", tag = "addresses", security(("bearer" = [])),
    params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "It is the default"),
        (status = 400, description = "`path-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`address-unknown`", body = Problem, content_type = "application/problem+json"),
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
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(unknown()) }
}

fn unknown() -> Problem {
    Problem::not_found("address-unknown")
}
