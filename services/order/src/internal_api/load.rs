//! `PUT /internal/v1/sales/{id}`: allots units to a sale, loads them into Redis, and reads them back.
//!
//! 1. We ask Redis for its clock and for what it holds. If Redis is away, we promise nothing.
//! 2. One SQL transaction checks every rule and allots the units out of the standing stock. Units that are
//!    on offer there come off their shelf first, in Redis and in SQL.
//! 3. We load Redis with totals, not with differences: loading twice loads once.
//! 4. We read Redis back. Only a sale that reads back equal becomes ready.
//!
//! If it is cut short anywhere, the same PUT continues from there. A sale that Redis lost after it was
//! loaded is not loaded again: units sold since would be sold a second time. It is rebuilt instead.

use axum::extract::State;
use axum::http::StatusCode;
use rocketmart_contracts::internal_api::{MAX_FENCE, SaleStatus, SaleTerms};
use rocketmart_kit::extract::{Json, Path};
use rocketmart_kit::problem::{FieldError, Problem, Result};
use rocketmart_stock::{LoadOutcome, SaleId, StockError};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::differences::differences;
use super::spec::spec;
use super::{InternalApi, away, database, stale_fence};
use crate::domain::sale::{self, Terms};
use crate::domain::standing::is_standing;
use crate::standing::{NotTaken, take};
use crate::store::clock::ms;
use crate::store::sales::{self, Sale};
use crate::store::skus;
use crate::store::standing::{self, Units};
use crate::vouch::Seen;

pub(super) async fn put(
    State(api): State<InternalApi>,
    Path(id): Path<Uuid>,
    Json(asked): Json<SaleTerms>,
) -> Result<Json<SaleStatus>> {
    if !(0..=MAX_FENCE).contains(&asked.fence) {
        return Err(Problem::validation(vec![FieldError::new(
            "fence",
            "range",
            format!("must be 0 to {MAX_FENCE}"),
        )]));
    }
    let terms = Terms {
        name: asked.name,
        currency: asked.currency,
        opens_at_ms: ms(asked.opens_at),
        closes_at_ms: ms(asked.closes_at),
        payment_seconds: asked.payment_seconds,
        items: asked.items,
    };
    let before = api.stock.counters(SaleId(id)).await.map_err(away)?;
    let now_ms = before.as_ref().map_or_else(|| ms(OffsetDateTime::now_utc()), |counters| counters.now_ms);
    let sale = api.allot(id, asked.fence, &terms, now_ms).await?;
    let lost = sale.loaded && before.is_none();
    if !lost && !sale.state.is_over() {
        api.load(&sale).await?;
    }
    api.status(id).await.map(Json)
}

impl InternalApi {
    /// Checks the terms and takes the units out of the standing stock, all or none.
    async fn allot(&self, id: Uuid, fence: i64, terms: &Terms, now_ms: i64) -> Result<Sale> {
        let mut tx = self.pool.begin().await.map_err(database)?;
        standing::lock(&mut tx).await.map_err(database)?;
        let agreed = sales::lock(&mut tx, id).await.map_err(database)?;
        if let Some(agreed) = &agreed {
            if fence < agreed.fence {
                return Err(stale_fence(agreed.fence));
            }
            if agreed.state.is_over() {
                return over(agreed, terms);
            }
        }
        if agreed.is_none() && is_standing(id, &terms.currency) {
            return Err(super::sale_unknown());
        }
        let agreed = agreed.map(|sale| sale.terms());
        let wanted: Vec<String> = terms.items.iter().map(|item| item.sku.clone()).collect();
        let known = skus::lock(&mut tx, &wanted).await.map_err(database)?;
        let broken = sale::check(terms, &known, agreed.as_ref(), now_ms);
        if !broken.is_empty() {
            let errors =
                broken.into_iter().map(|broken| FieldError::new(broken.field, broken.rule, broken.detail));
            return Err(Problem::validation(errors.collect()));
        }
        let mut units: Units = terms.items.iter().map(|item| (item.sku.clone(), item.units)).collect();
        for item in agreed.iter().flat_map(|agreed| &agreed.items) {
            *units.entry(item.sku.clone()).or_default() -= item.units;
        }
        self.clear_shelves(&mut tx, id, terms, &units).await?;
        skus::allocate(&mut tx, &units).await.map_err(database)?;
        sales::save_terms(&mut tx, id, fence, terms).await.map_err(database)?;
        let sale = sales::lock(&mut tx, id).await.map_err(database)?.ok_or_else(super::sale_unknown)?;
        tx.commit().await.map_err(database)?;
        Ok(sale)
    }

    /// Takes units off the shelves of the ordinary stock if there is no other way to get them.
    async fn clear_shelves(
        &self,
        tx: &mut PgConnection,
        sale: Uuid,
        terms: &Terms,
        wanted: &Units,
    ) -> Result<()> {
        let missing = standing::missing(tx, wanted).await.map_err(database)?;
        let skus: Vec<&str> = wanted.keys().map(String::as_str).collect();
        standing::lock_ledger(tx, sale, &terms.currency, &skus).await.map_err(database)?;
        match take(&self.stock, tx, &terms.currency, &missing).await {
            Ok(()) => Ok(()),
            Err(NotTaken::Spoken(skus)) => {
                let detail = "buyers of ordinary stock hold some of the units that seemed to be available";
                let spoken = terms.items.iter().enumerate().filter(|(_, item)| skus.contains(&item.sku));
                let errors = spoken.map(|(index, _)| {
                    FieldError::new(format!("items[{index}].units"), "within-stock", detail)
                });
                Err(Problem::validation(errors.collect()))
            }
            Err(NotTaken::Away(error)) => Err(away(error)),
            Err(NotTaken::Database(error)) => Err(database(error)),
        }
    }

    /// Loads Redis, reads it back, and makes the sale ready if both are equal.
    async fn load(&self, sale: &Sale) -> Result<()> {
        let id = SaleId(sale.id);
        let loaded = match self.stock.load(&spec(sale)?).await {
            // Part of the sale is gone. The status says so, and the sale is rebuilt.
            Err(StockError::Unvouched) if sale.loaded => return self.look(sale.id).await.map(drop),
            Err(StockError::Unvouched) => return Err(something_is_there()),
            loaded => loaded.map_err(away)?,
        };
        match loaded {
            LoadOutcome::Loaded | LoadOutcome::AlreadyLoaded => {}
            LoadOutcome::StaleFence { seen } => {
                return Err(stale_fence(i64::try_from(seen).unwrap_or(MAX_FENCE)));
            }
            LoadOutcome::ConflictingSpec(conflicts) => {
                let errors = conflicts.into_iter().map(|c| FieldError::new(c.field, "redis-refused", c.rule));
                return Err(Problem::validation(errors.collect()));
            }
        }
        let counters = self.stock.counters(id).await.map_err(away)?;
        if counters.is_none() || !differences(sale, counters.as_ref()).is_empty() {
            return Ok(()); // stays `loading`; the status names the differences
        }
        if sale.loaded && self.look(sale.id).await? != Seen::Vouched {
            return Ok(()); // Redis lost it just before, and loaded it as if it were new
        }
        if !sales::set_loaded(&self.pool, sale.id, sale.fence).await.map_err(database)? {
            return Err(stale_fence(sale.fence));
        }
        let ready =
            sales::find(&self.pool, sale.id).await.map_err(database)?.ok_or_else(super::sale_unknown)?;
        self.align(&ready).await
    }
}

/// Nothing was ever loaded. So what lies under the sale's keys is somebody else's, or is left from a load
/// of which Redis lost a part before it was read back.
fn something_is_there() -> Problem {
    let detail =
        "the pre-load does not read back: Redis holds something of this sale, which was never loaded";
    Problem::validation(vec![FieldError::new("items", "redis-not-empty", detail)])
}

/// A PUT that repeats the terms of a finished sale gets its usual answer. One that wants more is refused.
fn over(sale: &Sale, terms: &Terms) -> Result<Sale> {
    let mut asked = terms.clone();
    asked.items.sort_by(|a, b| a.sku.cmp(&b.sku));
    if asked == sale.terms() {
        return Ok(sale.clone());
    }
    Err(Problem::new(StatusCode::CONFLICT, "sale-closed", "The sale is over")
        .detail(format!("it is {} and its terms cannot change", sale.state.as_str())))
}
