//! How a sale stands: Redis' counters, the ledger, what is still under way, and where Redis and SQL
//! disagree about what was promised.

use axum::extract::State;
use rocketmart_contracts::internal_api::{DifferenceKind, ItemCount, Outstanding, SaleStatus};
use rocketmart_kit::extract::{Json, Path};
use rocketmart_kit::problem::Result;
use rocketmart_stock::{SaleCounters, SaleId};
use time::OffsetDateTime;
use uuid::Uuid;

use super::differences::{difference, differences, state_difference};
use super::{InternalApi, away, database, sale_unknown};
use crate::reservations;
use crate::store::clock::ms;
use crate::store::sales::{self, Sale};
use crate::store::{books, rebuild};
use crate::vouch::Seen;

pub(super) async fn one(State(api): State<InternalApi>, Path(id): Path<Uuid>) -> Result<Json<SaleStatus>> {
    api.status(id).await.map(Json)
}

impl InternalApi {
    pub(super) async fn status(&self, id: Uuid) -> Result<SaleStatus> {
        let sale = sales::find(&self.pool, id).await.map_err(database)?.ok_or_else(sale_unknown)?;
        let seen = self.look(id).await?;
        let counters = self.stock.counters(SaleId(id)).await.map_err(away)?;
        let outstanding = self.outstanding(id, counters.as_ref()).await?;
        let rebuilt = rebuild::last(&self.pool, id).await.map_err(database)?;
        Ok(SaleStatus { rebuilt, ..status(&sale, counters.as_ref(), outstanding, &seen) })
    }

    pub(super) async fn outstanding(&self, id: Uuid, counters: Option<&SaleCounters>) -> Result<Outstanding> {
        let (outbox, payments_pending) = books::outstanding(&self.pool, id).await.map_err(database)?;
        Ok(Outstanding {
            reservations: counters.map_or(0, |counters| counters.outstanding_reservations),
            stream_entries: counters.map_or(0, |counters| counters.stream_length),
            outbox,
            payments_pending,
        })
    }
}

fn status(sale: &Sale, counters: Option<&SaleCounters>, outstanding: Outstanding, seen: &Seen) -> SaleStatus {
    let mut differences = differences(sale, counters);
    if let (Seen::Doubted(reason), Some(_)) = (seen, counters) {
        differences.push(difference(DifferenceKind::RedisBehind, None, reason));
    }
    differences.extend(state_difference(sale, counters));
    let in_redis = counters.map(|counters| counters.items.as_slice()).unwrap_or_default();
    SaleStatus {
        id: sale.id,
        name: sale.name.clone(),
        state: sale.state,
        fence: sale.fence,
        verified: sale.loaded && counters.is_some() && differences.is_empty(),
        now_ms: counters.map_or_else(|| ms(OffsetDateTime::now_utc()), |counters| counters.now_ms),
        opens_at_ms: sale.opens_at_ms,
        closes_at_ms: sale.closes_at_ms,
        items: in_redis
            .iter()
            .map(|item| ItemCount { sku: item.sku.clone(), units: reservations::counters(item) })
            .collect(),
        ledger: sale
            .items
            .iter()
            .map(|item| ItemCount { sku: item.sku.clone(), units: item.ledger })
            .collect(),
        outstanding,
        differences,
        rebuilt: None,
    }
}
