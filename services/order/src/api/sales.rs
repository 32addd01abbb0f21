//! Sales as shoppers see them.
//!
//! Every replica keeps the list in memory and reads it anew twice a second, so that any number of
//! shoppers watching a sale cost PostgreSQL and Redis nothing. While one of them is away the last
//! list known is shown.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use arc_swap::ArcSwapOption;
use axum::extract::State;
use rocketmart_kit::extract::{Json, Path};
use rocketmart_kit::problem::{Problem, Result};
use rocketmart_stock::{OrderId, SaleCounters, SaleId, Stock};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{App, problems};
use crate::domain::sale::SaleState;
use crate::store::clock::at;
use crate::store::sales::{self, Sale};

const REFRESH: Duration = Duration::from_millis(500);
/// Sales kept in the list.
const NEWEST: i64 = 100;

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

/// The sales this replica knows of; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct SaleList {
    known: Arc<ArcSwapOption<Known>>,
}

struct Known {
    /// Newest first.
    sales: Vec<SaleView>,
    /// Those with reservations in Redis.
    loaded: Vec<SaleId>,
}

impl SaleList {
    /// Sales in which an order may be found in Redis: first the one its id hints at, which is nearly
    /// always right, so that looking for an order costs the same however many sales there are.
    pub(crate) fn where_to_look_for(&self, order: OrderId) -> Vec<SaleId> {
        let mut sales = self.known.load().as_ref().map(|known| known.loaded.clone()).unwrap_or_default();
        sales.sort_by_key(|sale| !order.hints_at(*sale));
        sales
    }

    /// The id a path names: an id itself, or the name of a sale. Of several sales of one name the
    /// newest is meant.
    pub(crate) fn resolve(&self, named: &str) -> Option<SaleId> {
        if let Ok(id) = named.parse() {
            return Some(SaleId(id));
        }
        self.find(|sale| sale.name == named).map(|sale| SaleId(sale.id))
    }

    pub(crate) fn get(&self, id: SaleId) -> Option<SaleView> {
        self.find(|sale| sale.id == id.0)
    }

    pub(crate) fn ready(&self) -> anyhow::Result<()> {
        ensure!(self.known.load().is_some(), "the list of sales has not been read yet");
        Ok(())
    }

    fn find(&self, wanted: impl Fn(&SaleView) -> bool) -> Option<SaleView> {
        self.known.load().as_ref().and_then(|known| known.sales.iter().find(|sale| wanted(sale)).cloned())
    }

    /// Reads the list again and again until `stop`.
    pub(crate) async fn refresh_loop(
        self,
        pool: PgPool,
        stock: Stock,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        loop {
            match read(&pool, &stock).await {
                Ok(known) => self.known.store(Some(Arc::new(known))),
                Err(error) => tracing::warn!(error = format!("{error:#}"), "cannot read the list of sales"),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(REFRESH) => {}
            }
        }
    }
}

async fn read(pool: &PgPool, stock: &Stock) -> anyhow::Result<Known> {
    let sales = sales::newest(pool, NEWEST).await?;
    let mut known = Known { sales: Vec::with_capacity(sales.len()), loaded: Vec::new() };
    for sale in sales {
        let mut counters = None;
        if sale.loaded && sale.state != SaleState::ClosedOut {
            known.loaded.push(SaleId(sale.id));
            counters = stock.counters(SaleId(sale.id)).await?;
        }
        known.sales.push(view(sale, counters.as_ref()));
    }
    Ok(known)
}

/// Redis' counters and clock where there are any, the ledger where there are not.
fn view(sale: Sale, counters: Option<&SaleCounters>) -> SaleView {
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
        // Redis has lost it; it goes on once it is rebuilt.
        None if sale.loaded => SalePhase::Paused,
        None => SalePhase::Scheduled,
        Some(_) if items.iter().all(|item| item.remaining == 0) => SalePhase::SoldOut,
        Some(_) => SalePhase::Open,
    };
    SaleView {
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

/// The newest sales.
#[utoipa::path(get, path = "/api/v1/sales", tag = "sales", operation_id = "listSales",
    responses((status = 200, description = "The newest sales, at most a second old", body = SaleListView)))]
pub(crate) async fn list(State(app): State<App>) -> Json<SaleListView> {
    let data = app.sales.known.load().as_ref().map(|known| known.sales.clone()).unwrap_or_default();
    Json(SaleListView { data })
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
