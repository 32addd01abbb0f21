//! Sales as shoppers see them, from the list in memory.

use axum::extract::State;
use rocketmart_kit::extract::{Json, Path};
use rocketmart_kit::problem::{Problem, Result};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{App, problems};

/// A flash sale.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Sale)]
pub(crate) struct SaleView {
    pub id: Uuid,
    pub name: String,
    pub state: SalePhase,
    #[serde(with = "time::serde::rfc3339")]
    pub opens_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub closes_at: OffsetDateTime,
    /// Seconds a buyer has to pay.
    pub payment_seconds: i64,
    /// ISO 4217.
    pub currency: String,
    pub items: Vec<SaleItemView>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = SaleItem)]
pub(crate) struct SaleItemView {
    pub sku: String,
    pub title: String,
    /// Minor units.
    pub price: i64,
    pub per_buyer_limit: i64,
    pub units: i64,
    /// Units not spoken for, at most a second ago.
    pub remaining: i64,
}

/// Where a sale stands for shoppers, by the clock that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SalePhase {
    /// Not open yet.
    Scheduled,
    Open,
    /// Open, and nothing is left for now: units of orders that are not paid come back.
    SoldOut,
    /// Takes no purchases for now.
    Paused,
    Closed,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SaleListView {
    pub data: Vec<SaleView>,
}

/// The newest sales.
#[utoipa::path(get, path = "/api/v1/sales", tag = "sales", operation_id = "listSales",
    responses((status = 200, description = "The newest sales, at most a second old", body = SaleListView)))]
pub(crate) async fn list(State(app): State<App>) -> Json<SaleListView> {
    Json(SaleListView { data: app.sales.all() })
}

/// One sale, by its id or its name.
#[utoipa::path(get, path = "/api/v1/sales/{sale}", tag = "sales", operation_id = "getSale",
    params(("sale" = String, Path, description = "Id or name of the sale")),
    responses(
        (status = 200, description = "The sale, at most a second old", body = SaleView),
        (status = 404, description = "`sale-unknown`", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn one(State(app): State<App>, Path(named): Path<String>) -> Result<Json<SaleView>> {
    let known = app.sales.resolve(&named).and_then(|id| app.sales.get(id));
    known.map(Json).ok_or_else(problems::sale_unknown)
}
