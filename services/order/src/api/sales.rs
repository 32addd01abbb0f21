//! Sales as shoppers see them, from the list in memory and, past its end, from PostgreSQL.

use std::collections::HashMap;

use axum::extract::State;
use rocketmart_contracts::internal_api::SaleState;
use rocketmart_kit::client_address::ClientAddress;
use rocketmart_kit::extract::{Json, Path, Query};
use rocketmart_kit::page::{Page, PageQuery};
use rocketmart_kit::problem::{Problem, Result};
use rocketmart_stock::SaleCounters;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{App, problems, sale_list};
use crate::store::clock::at;
use crate::store::sales::Sale;

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

impl SaleView {
    /// Uses Redis' counters and clock where it has any, and the ledger where it does not.
    pub(super) fn of(sale: Sale, counters: Option<&SaleCounters>) -> Self {
        let left: HashMap<&str, i64> = counters
            .iter()
            .flat_map(|counters| &counters.items)
            .map(|item| (item.sku.as_str(), i64::from(item.remaining)))
            .collect();
        let items: Vec<_> = sale
            .items
            .into_iter()
            .map(|item| SaleItemView {
                remaining: left.get(item.sku.as_str()).copied().unwrap_or(item.ledger.remaining),
                sku: item.sku,
                title: item.title,
                price: item.price,
                per_buyer_limit: item.per_buyer_limit,
                units: item.ledger.preloaded,
            })
            .collect();
        let state = match counters {
            _ if sale.state.is_over() => SalePhase::Closed,
            Some(counters) if counters.now_ms >= sale.closes_at_ms => SalePhase::Closed,
            _ if sale.state == SaleState::Suspended => SalePhase::Paused,
            Some(counters) if counters.now_ms < sale.opens_at_ms => SalePhase::Scheduled,
            // Redis has lost the sale. It resumes once it is rebuilt.
            None if sale.loaded => SalePhase::Paused,
            None => SalePhase::Scheduled,
            Some(_) if items.iter().all(|item| item.remaining == 0) => SalePhase::SoldOut,
            Some(_) => SalePhase::Open,
        };
        Self {
            id: sale.id,
            name: sale.name,
            state,
            opens_at: at(sale.opens_at_ms),
            closes_at: at(sale.closes_at_ms),
            payment_seconds: sale.payment_seconds,
            currency: sale.currency,
            items,
        }
    }
}

/// The sales, the one that opens last first.
#[utoipa::path(get, path = "/api/v1/sales", tag = "sales", operation_id = "listSales",
    params(PageQuery),
    responses(
        (status = 200, description = "A page of sales, those that are not over at most a second old", body = Page<SaleView>),
        (status = 400, description = "`cursor-invalid`, `query-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation-failed`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too-many-requests`: too many pages of sales that are long over, with `Retry-After`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`database-unavailable`: this page is of sales that are long over", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn list(
    State(app): State<App>,
    address: ClientAddress,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<SaleView>>> {
    let limit = page.limit()?;
    let found = app.sales_behind(page.after()?, limit + 1, address).await?;
    Ok(Json(Page::from_rows(found, limit, sale_list::place)))
}

/// One sale, by its id or its name.
#[utoipa::path(get, path = "/api/v1/sales/{sale}", tag = "sales", operation_id = "getSale",
    params(("sale" = String, Path, description = "Id or name of the sale")),
    responses(
        (status = 200, description = "The sale, at most a second old", body = SaleView),
        (status = 404, description = "`sale-unknown`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too-many-requests`: too many sales that are long over or unknown, with `Retry-After`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`database-unavailable`: the sale is none of those that go on", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn one(
    State(app): State<App>,
    address: ClientAddress,
    Path(named): Path<String>,
) -> Result<Json<SaleView>> {
    app.find_sale(&named, address).await?.map(Json).ok_or_else(problems::sale_unknown)
}
