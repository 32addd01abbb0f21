//! `POST /internal/v1/sales/{id}/close-out`: compares the books and signs them off.
//!
//! Only a sale that is over and drained can be compared. If nothing differs, the unsold units go back to
//! the standing stock in the transaction that marks the sale as closed out. So they go back once. Another
//! request gets the report that was signed.

use std::collections::{BTreeMap, HashMap};

use axum::extract::State;
use axum::http::StatusCode;
use rocketmart_contracts::internal_api::{CloseOut, Code, Fenced, SaleState};
use rocketmart_kit::extract::{Json, Path};
use rocketmart_kit::problem::{Problem, Result};
use rocketmart_stock::{SaleCounters, SaleId};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{InternalApi, away, database, sale_unknown, stale_fence};
use crate::domain::close_out::{Books, Held, ItemBooks, compare};
use crate::reservations;
use crate::store::sales::{self, Sale};
use crate::store::{books, skus};

/// How many reservations to read from Redis at once.
const PAGE: usize = 1000;

pub(super) async fn close_out(
    State(api): State<InternalApi>,
    Path(id): Path<Uuid>,
    Json(Fenced { fence }): Json<Fenced>,
) -> Result<Json<serde_json::Value>> {
    let mut tx = api.pool.begin().await.map_err(database)?;
    let mut sale = sales::lock(&mut tx, id).await.map_err(database)?.ok_or_else(sale_unknown)?;
    if fence < sale.fence {
        return Err(stale_fence(sale.fence));
    }
    if let Some(report) = sale.close_out {
        return Ok(Json(report));
    }
    if !matches!(sale.state, SaleState::Closed | SaleState::Cancelled) {
        return Err(Problem::conflict("sale-not-closed", format!("the sale is {}", sale.state.as_str())));
    }
    sale.fence = fence;
    api.align(&sale).await?;
    let counters = api.stock.counters(SaleId(id)).await.map_err(away)?;
    let outstanding = api.outstanding(id, counters.as_ref()).await?;
    if !outstanding.is_nothing() {
        let outstanding = serde_json::to_value(outstanding).map_err(Problem::internal)?;
        let not_drained = Code::NotDrained.as_str();
        return Err(Problem::new(StatusCode::CONFLICT, not_drained, "Something is still on its way")
            .with("outstanding", outstanding));
    }

    let books = api.books(&mut tx, &sale, counters.as_ref()).await?;
    let compared = compare(&books);
    let mut report = CloseOut {
        matched: compared.matched,
        orders: compared.endings,
        items: compared.items,
        differences: compared.differences,
        differences_total: compared.differences_total,
        closed_out_at: None,
    };
    if report.differences_total > 0 {
        tracing::error!(sale = %id, differences = report.differences_total, "the books differ");
        return serde_json::to_value(report).map(Json).map_err(Problem::internal);
    }
    report.closed_out_at = Some(OffsetDateTime::now_utc());
    let report = serde_json::to_value(report).map_err(Problem::internal)?;
    let unsold: BTreeMap<String, i64> =
        sale.items.iter().map(|item| (item.sku.clone(), -item.ledger.remaining)).collect();
    skus::allocate(&mut tx, &unsold).await.map_err(database)?;
    sales::close_out(&mut tx, id, fence, &report).await.map_err(database)?;
    tx.commit().await.map_err(database)?;
    Ok(Json(report))
}

impl InternalApi {
    async fn books(
        &self,
        tx: &mut PgConnection,
        sale: &Sale,
        counters: Option<&SaleCounters>,
    ) -> Result<Books> {
        let redis = self.held(SaleId(sale.id)).await?;
        let orders = books::orders(tx, sale.id).await.map_err(database)?;
        let mut ids: Vec<Uuid> = redis.iter().map(|held| held.order_id).collect();
        ids.extend(orders.iter().map(|order| order.order_id));
        let charges = books::charges(tx, &ids).await.map_err(database)?;
        let items = sale.items.iter().map(|item| {
            let found = counters.and_then(|counters| counters.items.iter().find(|held| held.sku == item.sku));
            // Redis need not know a sale that was cancelled before it was ever loaded.
            let unheard_of = (counters.is_none() && !sale.loaded).then_some(item.ledger);
            ItemBooks {
                sku: item.sku.clone(),
                per_buyer_limit: item.per_buyer_limit,
                redis: found.map(reservations::counters).or(unheard_of),
                ledger: item.ledger,
            }
        });
        Ok(Books { redis, orders, charges, items: items.collect() })
    }

    /// Every reservation that Redis has, each once: a scan may return one twice.
    async fn held(&self, sale: SaleId) -> Result<Vec<Held>> {
        let mut held: HashMap<Uuid, Held> = HashMap::new();
        let mut cursor = 0;
        loop {
            let (next, page) = self.stock.scan_reservations(sale, cursor, PAGE).await.map_err(away)?;
            held.extend(page.into_iter().map(|found| (found.order.0, reservations::held(found))));
            if next == 0 {
                return Ok(held.into_values().collect());
            }
            cursor = next;
        }
    }
}
