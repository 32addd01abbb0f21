//! Products: lists and single ones for everyone, changes for the seller alone.
//!
//! If a caller may not see something, we answer as if it were not there. That goes for other sellers' drafts
//! and withdrawn products, and for any change to another seller's product.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use rocketmart_kit::auth::Seller;
use rocketmart_kit::extract::{IdempotencyKey, Json, Path, Query};
use rocketmart_kit::idempotency;
use rocketmart_kit::page::{Page, PageQuery};
use rocketmart_kit::precondition::{IfMatch, IfNoneMatch};
use rocketmart_kit::problem::{FieldError, Problem, Result};
use rocketmart_kit::validation::Violations;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::Catalog;
use super::etag::{etag, still};
use super::viewer::Viewer;
use crate::domain::{self, Adjustment, Content, Edit, Product};
use crate::store::{self, Listing, Once, StoreError, product_unknown, refusal};

/// How often we try to publish or withdraw while somebody else keeps changing the product.
const TRANSITION_ATTEMPTS: usize = 5;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// `me`: the caller's own products in every state, instead of everybody's published ones.
    #[param(pattern = "^me$")]
    seller: Option<String>,
    /// Where to go on, from `next_cursor` of the page before.
    cursor: Option<String>,
    /// Entries per page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
}

/// Published products, newest first; with `seller=me` the caller's own in every state
#[utoipa::path(get, path = "/api/v1/products", tag = "products", params(ListQuery),
    responses((status = 200, body = Page<Product>), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 422, body = Problem)),
    security((), ("bearer" = [])))]
pub(super) async fn list(
    State(catalog): State<Catalog>,
    Viewer(viewer): Viewer,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Product>>> {
    let listing = match (query.seller.as_deref(), viewer) {
        (None, _) => Listing::Published,
        (Some("me"), Some(member)) => Listing::OfSeller(member),
        (Some("me"), None) => {
            return Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "Log in to see your own products",
            ));
        }
        (Some(_), _) => {
            return Err(Problem::validation(vec![FieldError::new(
                "seller",
                "enum",
                "must be `me` or left out",
            )]));
        }
    };
    let page = PageQuery { cursor: query.cursor, limit: query.limit };
    let limit = page.limit()?;
    let products = catalog.store.list(listing, page.after()?, limit + 1).await.map_err(refusal)?;
    let products = products.into_iter().map(|product| catalog.availability.of(product)).collect();
    Ok(Json(Page::from_rows(products, limit, |product| product.id)))
}

/// A product: a published one for everyone, any other for its seller
///
/// Its `ETag` is the version of what the seller says; likes change without it.
#[utoipa::path(get, path = "/api/v1/products/{id}", tag = "products",
    params(("id" = Uuid, Path), ("If-None-Match" = Option<String>, Header, description = "ETags that the reader has")),
    responses((status = 200, body = Product, headers(("ETag" = String, description = "the version"))),
        (status = 304, headers(("ETag" = String, description = "the version"))),
        (status = 401, body = Problem), (status = 404, body = Problem)),
    security((), ("bearer" = [])))]
pub(super) async fn show(
    State(catalog): State<Catalog>,
    Viewer(viewer): Viewer,
    Path(id): Path<Uuid>,
    known: IfNoneMatch,
) -> Result<Response> {
    let product = catalog
        .store
        .find(id)
        .await
        .map_err(refusal)?
        .filter(|product| product.is_published() || viewer == Some(product.seller_id))
        .ok_or_else(product_unknown)?;
    Ok(known.or_not_modified(etag(&product), Json(catalog.availability.of(product))))
}

/// Create a product as a draft, which takes no SKU
#[utoipa::path(post, path = "/api/v1/products", tag = "products", request_body = Content,
    params(("Idempotency-Key" = String, Header, description = "the same for every repetition of this request")),
    responses((status = 201, body = Product, headers(("ETag" = String, description = "the version"),
            ("Location" = String, description = "the product"))),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)),
    security(("bearer" = [])))]
pub(super) async fn create(
    State(catalog): State<Catalog>,
    Seller(seller): Seller,
    key: IdempotencyKey,
    Json(content): Json<Content>,
) -> Result<Response> {
    let once = Once { owner: seller.sub, key, request_hash: idempotency::request_hash(&content) };
    let product = Product::draft(seller.sub, content, domain::now())?;
    catalog.store.create(product, once, created).await
}

/// The answer to a creation. A repetition gets the same one.
fn created(product: Product, outcome: store::Result<()>) -> Result<Response> {
    outcome.map_err(refusal)?;
    let location = [(header::LOCATION, format!("/api/v1/products/{}", product.id))];
    Ok((location, answer(StatusCode::CREATED, product)).into_response())
}

/// Change what is given; a list replaces the list before
#[utoipa::path(patch, path = "/api/v1/products/{id}", tag = "products", request_body = Edit,
    params(("id" = Uuid, Path), ("If-Match" = String, Header, description = "the ETag the change is made for")),
    responses((status = 200, body = Product, headers(("ETag" = String, description = "the version"))),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem),
        (status = 422, body = Problem), (status = 428, body = Problem)),
    security(("bearer" = [])))]
pub(super) async fn edit(
    State(catalog): State<Catalog>,
    Seller(seller): Seller,
    Path(id): Path<Uuid>,
    if_match: IfMatch,
    Json(edit): Json<Edit>,
) -> Result<Response> {
    let product = still(owned(&catalog, id, seller.sub).await?, &if_match)?;
    let version = product.version;
    let product = product.edit(edit, domain::now())?;
    if product.version != version {
        catalog.store.replace(&product).await.map_err(|error| refusal_of_skus(error, &product.content))?;
    }
    Ok(answer(StatusCode::OK, catalog.availability.of(product)))
}

/// Delete a product in any state; its SKUs are free again
#[utoipa::path(delete, path = "/api/v1/products/{id}", tag = "products",
    params(("id" = Uuid, Path), ("If-Match" = String, Header, description = "the ETag the deletion is meant for")),
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 412, body = Problem),
        (status = 428, body = Problem)),
    security(("bearer" = [])))]
pub(super) async fn delete(
    State(catalog): State<Catalog>,
    Seller(seller): Seller,
    Path(id): Path<Uuid>,
    if_match: IfMatch,
) -> Result<StatusCode> {
    let product = still(owned(&catalog, id, seller.sub).await?, &if_match)?;
    catalog.store.delete(product.id, product.version).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Show a product to everyone; a published one stays as it is. It takes its SKUs, unless another published product
/// has one or another seller withdrew a product with one
#[utoipa::path(post, path = "/api/v1/products/{id}/publish", tag = "products", params(("id" = Uuid, Path)),
    responses((status = 200, body = Product, headers(("ETag" = String, description = "the version"))),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 412, body = Problem)),
    security(("bearer" = [])))]
pub(super) async fn publish(
    State(catalog): State<Catalog>,
    Seller(seller): Seller,
    Path(id): Path<Uuid>,
) -> Result<Response> {
    transition(&catalog, id, seller.sub, |product| Ok(product.publish(domain::now()))).await
}

/// Take a published product out of the shop; a withdrawn one stays as it is
#[utoipa::path(post, path = "/api/v1/products/{id}/withdraw", tag = "products", params(("id" = Uuid, Path)),
    responses((status = 200, body = Product, headers(("ETag" = String, description = "the version"))),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 412, body = Problem)),
    security(("bearer" = [])))]
pub(super) async fn withdraw(
    State(catalog): State<Catalog>,
    Seller(seller): Seller,
    Path(id): Path<Uuid>,
) -> Result<Response> {
    transition(&catalog, id, seller.sub, |product| {
        product
            .withdraw(domain::now())
            .map_err(|error| Problem::conflict("product-not-published", error.to_string()))
    })
    .await
}

/// Correct the stock of a SKU by a difference; to count it anew, change the product
#[utoipa::path(post, path = "/api/v1/products/{id}/stock-adjustments", tag = "products", request_body = Adjustment,
    params(("id" = Uuid, Path),
        ("Idempotency-Key" = String, Header, description = "the same for every repetition of this request")),
    responses((status = 200, body = Product, headers(("ETag" = String, description = "the version"))),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem),
        (status = 422, body = Problem)),
    security(("bearer" = [])))]
pub(super) async fn adjust_stock(
    State(catalog): State<Catalog>,
    Seller(seller): Seller,
    Path(id): Path<Uuid>,
    key: IdempotencyKey,
    Json(adjustment): Json<Adjustment>,
) -> Result<Response> {
    owned(&catalog, id, seller.sub).await?;
    let once = Once { owner: seller.sub, key, request_hash: idempotency::request_hash(&adjustment) };
    let step = move |product: Product| {
        let adjusted = product.adjust(&adjustment, domain::now()).map_err(broken)?;
        let Adjustment { sku, difference, reason } = &adjustment;
        tracing::info!(product = %adjusted.id, sku, difference, ?reason, "a seller corrected the stock");
        Ok(adjusted)
    };
    catalog.store.change_once(id, once, Arc::new(step), |product| answer(StatusCode::OK, product)).await
}

/// The broken rules, as the answer that names them.
fn broken(violations: Violations) -> Problem {
    violations.finish().err().unwrap_or_else(|| Problem::internal(anyhow::anyhow!("no rule was broken")))
}

/// Moves a product to another state, whatever its version: a caller who publishes or withdraws means the
/// product, and not one version of it.
async fn transition(
    catalog: &Catalog,
    id: Uuid,
    seller: Uuid,
    step: impl Fn(Product) -> Result<Product>,
) -> Result<Response> {
    for _ in 0..TRANSITION_ATTEMPTS {
        let product = owned(catalog, id, seller).await?;
        let version = product.version;
        let product = step(product)?;
        if product.version == version {
            return Ok(answer(StatusCode::OK, catalog.availability.of(product)));
        }
        match catalog.store.replace(&product).await {
            Ok(()) => return Ok(answer(StatusCode::OK, catalog.availability.of(product))),
            Err(StoreError::VersionConflict) => {}
            Err(error) => return Err(refusal_of_skus(error, &product.content)),
        }
    }
    Err(refusal(StoreError::VersionConflict))
}

/// The product, if it is this seller's own.
async fn owned(catalog: &Catalog, id: Uuid, seller: Uuid) -> Result<Product> {
    let product = catalog.store.find(id).await.map_err(refusal)?;
    product.filter(|product| product.seller_id == seller).ok_or_else(product_unknown)
}

/// Like [`refusal`], but names the field of each taken SKU.
fn refusal_of_skus(error: StoreError, content: &Content) -> Problem {
    let StoreError::SkusTaken(taken) = error else { return refusal(error) };
    let mut problem = Problem::conflict("sku-taken", "another product is published with this SKU");
    for (i, variant) in
        content.variants.iter().enumerate().filter(|(_, variant)| taken.contains(&variant.sku))
    {
        let detail = format!("another product is published with {}", variant.sku);
        problem = problem.field(format!("variants[{i}].sku"), "taken", detail);
    }
    problem
}

fn answer(status: StatusCode, product: Product) -> Response {
    (status, etag(&product), Json(product)).into_response()
}
