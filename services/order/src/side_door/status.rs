//! How a sale stands: Redis' counters, the ledger, what is still on its way, and where the two
//! disagree about what was promised.

use axum::extract::State;
use rocketmart_kit::extract::{Json, Path};
use rocketmart_kit::problem::Result;
use rocketmart_stock::{SaleCounters, SaleId, SaleState as InRedis};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::rebuild::Rebuilt;
use super::{SideDoor, away, database, sale_unknown};
use crate::domain::close_out::{Difference, ItemCount};
use crate::domain::sale::SaleState;
use crate::reservations;
use crate::store::clock::ms;
use crate::store::sales::{self, Sale};
use crate::store::{books, rebuild};
use crate::vouch::Seen;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SaleStatus {
    pub id: Uuid,
    pub name: String,
    pub state: SaleState,
    pub fence: i64,
    /// Redis was read just now and holds exactly what SQL promises, in the state SQL names.
    pub verified: bool,
    /// Redis' clock, Unix milliseconds.
    pub now_ms: i64,
    pub opens_at_ms: i64,
    pub closes_at_ms: i64,
    /// By Redis.
    pub items: Vec<ItemCount>,
    /// By SQL.
    pub ledger: Vec<ItemCount>,
    pub outstanding: Outstanding,
    /// Where Redis does not hold what SQL promises.
    pub differences: Vec<Difference>,
    /// The last time that Redis lost the sale and it was rebuilt.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rebuilt: Option<Rebuilt>,
}

/// What is still on its way. All zero: the sale is drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outstanding {
    /// Reservations neither paid nor released.
    pub reservations: u64,
    /// Entries of the stream whose events are not all in SQL.
    pub stream_entries: u64,
    /// Events about this sale's orders that are not published yet.
    pub outbox: i64,
    /// Charges and refunds asked for whose outcome is not known.
    pub payments_pending: i64,
}

impl Outstanding {
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

pub(super) async fn one(State(door): State<SideDoor>, Path(id): Path<Uuid>) -> Result<Json<SaleStatus>> {
    door.status(id).await.map(Json)
}

impl SideDoor {
    pub(super) async fn status(&self, id: Uuid) -> Result<SaleStatus> {
        let sale = sales::find(&self.pool, id).await.map_err(database)?.ok_or_else(sale_unknown)?;
        let seen = self.look(id).await?;
        let counters = self.stock.counters(SaleId(id)).await.map_err(away)?;
        let outstanding = self.outstanding(id, counters.as_ref()).await?;
        let rebuilt = rebuild::last(&self.pool, id).await.map_err(database)?;
        Ok(SaleStatus {
            rebuilt: rebuilt.map(Rebuilt::from),
            ..status(&sale, counters.as_ref(), outstanding, &seen)
        })
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
        differences.push(difference("redis-behind", None, reason));
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

/// Where Redis does not hold the terms SQL has. Units that move between counters while a sale runs
/// are not differences: SQL follows a moment later.
pub(super) fn differences(sale: &Sale, counters: Option<&SaleCounters>) -> Vec<Difference> {
    let Some(counters) = counters else {
        // Signed off, Redis may have forgotten it; never loaded, it has yet to learn of it.
        let expected = sale.loaded && sale.state != SaleState::ClosedOut;
        return expected
            .then(|| difference("redis-lost", None, "Redis does not know this sale any more"))
            .into_iter()
            .collect();
    };
    let mut found = Vec::new();
    let mut compare = |what: &str, sku: Option<&str>, redis: String, sql: String| {
        if redis != sql {
            found.push(difference("terms-differ", sku, &format!("{what}: Redis {redis}, SQL {sql}")));
        }
    };
    compare("currency", None, counters.currency.clone(), sale.currency.clone());
    compare("opens_at_ms", None, counters.opens_at_ms.to_string(), sale.opens_at_ms.to_string());
    compare(
        "closes_at_ms",
        None,
        counters.closes_at_ms.unwrap_or_default().to_string(),
        if sale.standing { 0 } else { sale.closes_at_ms }.to_string(),
    );
    compare("payment_seconds", None, counters.payment_seconds.to_string(), sale.payment_seconds.to_string());
    for item in &sale.items {
        let sku = Some(item.sku.as_str());
        let Some(held) = counters.items.iter().find(|held| held.sku == item.sku) else {
            compare("sku", sku, "missing".into(), "present".into());
            continue;
        };
        compare("preloaded", sku, held.preloaded.to_string(), item.ledger.preloaded.to_string());
        compare("price", sku, held.price.to_string(), item.price.to_string());
        let limit = if sale.standing { 0 } else { item.per_buyer_limit };
        compare("limit", sku, held.limit.unwrap_or_default().to_string(), limit.to_string());
        let balanced = reservations::counters(held).balanced();
        compare("balanced", sku, balanced.to_string(), true.to_string());
    }
    for held in &counters.items {
        if !sale.items.iter().any(|item| item.sku == held.sku) {
            found.push(difference("terms-differ", Some(&held.sku), "sku: Redis present, SQL missing"));
        }
    }
    found
}

fn state_difference(sale: &Sale, counters: Option<&SaleCounters>) -> Option<Difference> {
    let wanted = match sale.state {
        SaleState::Ready => InRedis::Ready,
        SaleState::Loading | SaleState::Suspended => InRedis::Suspended,
        SaleState::Closed | SaleState::Cancelled | SaleState::ClosedOut => InRedis::Closed,
    };
    let found = counters?.state;
    (found != wanted)
        .then(|| difference("state-differs", None, &format!("Redis {found:?}, SQL {}", sale.state.as_str())))
}

fn difference(kind: &str, sku: Option<&str>, detail: &str) -> Difference {
    Difference { kind: kind.into(), order_id: None, sku: sku.map(str::to_owned), detail: detail.into() }
}
