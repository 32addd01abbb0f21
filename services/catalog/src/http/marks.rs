//! Likes and the wishlist: what members note about published products.

use axum::extract::State;
use http::StatusCode;
use rocketmart_kit::auth::Member;
use rocketmart_kit::extract::{Json, Path, Query};
use rocketmart_kit::page::{Page, PageQuery};
use rocketmart_kit::problem::{Problem, Result};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Catalog;
use crate::domain::{self, Product};
use crate::store::{Mark, MarkKind, MarkPlace, refusal};

/// A noted product.
#[derive(Serialize, ToSchema)]
pub(super) struct Noted {
    product_id: Uuid,
    #[serde(with = "time::serde::rfc3339")]
    noted_at: OffsetDateTime,
    /// Null while the product is not published.
    product: Option<Product>,
}

/// The products this member likes, latest first
#[utoipa::path(get, path = "/api/v1/likes", tag = "likes", params(PageQuery),
    responses((status = 200, body = Page<Noted>), (status = 401, body = Problem)), security(("bearer" = [])))]
pub(super) async fn likes(
    State(catalog): State<Catalog>,
    member: Member,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Noted>>> {
    list(&catalog, MarkKind::Like, &member, &query).await
}

/// Like a published product
#[utoipa::path(put, path = "/api/v1/likes/{product_id}", tag = "likes", params(("product_id" = Uuid, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem)),
    security(("bearer" = [])))]
pub(super) async fn like(
    State(catalog): State<Catalog>,
    member: Member,
    Path(product_id): Path<Uuid>,
) -> Result<StatusCode> {
    add(&catalog, MarkKind::Like, &member, product_id).await
}

/// Like it no longer
#[utoipa::path(delete, path = "/api/v1/likes/{product_id}", tag = "likes", params(("product_id" = Uuid, Path)),
    responses((status = 204), (status = 401, body = Problem)), security(("bearer" = [])))]
pub(super) async fn unlike(
    State(catalog): State<Catalog>,
    member: Member,
    Path(product_id): Path<Uuid>,
) -> Result<StatusCode> {
    remove(&catalog, MarkKind::Like, &member, product_id).await
}

/// The products this member wishes for, latest first
#[utoipa::path(get, path = "/api/v1/wishlist", tag = "wishlist", params(PageQuery),
    responses((status = 200, body = Page<Noted>), (status = 401, body = Problem)), security(("bearer" = [])))]
pub(super) async fn wishlist(
    State(catalog): State<Catalog>,
    member: Member,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Noted>>> {
    list(&catalog, MarkKind::Wish, &member, &query).await
}

/// Put a published product on the wishlist
#[utoipa::path(put, path = "/api/v1/wishlist/{product_id}", tag = "wishlist", params(("product_id" = Uuid, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem)),
    security(("bearer" = [])))]
pub(super) async fn wish(
    State(catalog): State<Catalog>,
    member: Member,
    Path(product_id): Path<Uuid>,
) -> Result<StatusCode> {
    add(&catalog, MarkKind::Wish, &member, product_id).await
}

/// Take it off the wishlist
#[utoipa::path(delete, path = "/api/v1/wishlist/{product_id}", tag = "wishlist", params(("product_id" = Uuid, Path)),
    responses((status = 204), (status = 401, body = Problem)), security(("bearer" = [])))]
pub(super) async fn unwish(
    State(catalog): State<Catalog>,
    member: Member,
    Path(product_id): Path<Uuid>,
) -> Result<StatusCode> {
    remove(&catalog, MarkKind::Wish, &member, product_id).await
}

async fn list(
    catalog: &Catalog,
    kind: MarkKind,
    member: &Member,
    query: &PageQuery,
) -> Result<Json<Page<Noted>>> {
    let limit = query.limit()?;
    let after = query.after()?.map(|(marked_at, product_id)| MarkPlace { marked_at, product_id });
    let mut marks = catalog.store.marks(kind, member.0.sub, after, limit + 1).await.map_err(refusal)?;
    for mark in &mut marks {
        mark.product = mark.product.take().map(|product| catalog.availability.of(product));
    }
    Ok(Json(
        Page::from_rows(marks, limit, |mark| (mark.place.marked_at, mark.place.product_id)).map(Noted::from),
    ))
}

async fn add(catalog: &Catalog, kind: MarkKind, member: &Member, product_id: Uuid) -> Result<StatusCode> {
    catalog.store.mark(kind, member.0.sub, product_id, domain::now()).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(catalog: &Catalog, kind: MarkKind, member: &Member, product_id: Uuid) -> Result<StatusCode> {
    catalog.store.unmark(kind, member.0.sub, product_id).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<Mark> for Noted {
    fn from(mark: Mark) -> Self {
        Self { product_id: mark.place.product_id, noted_at: mark.place.marked_at, product: mark.product }
    }
}
