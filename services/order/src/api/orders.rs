//! A buyer's orders: the list, and a single one.

use axum::extract::State;
use rocketmart_kit::auth::Member;
use rocketmart_kit::extract::{Json, Path, Query};
use rocketmart_kit::page::{Page, PageQuery};
use rocketmart_kit::problem::{Problem, Result};
use uuid::Uuid;

use super::App;
use super::view::OrderView;
use crate::store::orders;

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
