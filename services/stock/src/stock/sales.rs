//! Puts sales into Redis, watches them, and takes them out again.

use crate::error::StockError;
use crate::id::SaleId;
use crate::keys;
use crate::reply::{Reply, unexpected};
use crate::sale::{
    ItemCounters, LoadOutcome, MAX_FENCE, PurgeOutcome, SaleCounters, SaleSpec, SaleState, SetStateOutcome,
    SpecConflict,
};

use super::{Arguments, Function, Result, Stock};

const LOAD: Function = Function::new("rocketmart_load");
const SET_STATE: Function = Function::new("rocketmart_set_state");
const PURGE: Function = Function::new("rocketmart_purge");
const COUNTERS: Function = Function::reading("rocketmart_counters");

impl Stock {
    /// Loads a sale, or adds to one that is loaded. A new sale is suspended until [`Self::set_state`] makes
    /// it ready. Counters of a loaded sale are never overwritten, only raised by the added units.
    ///
    /// For the standing stock (no end), a load may name only some SKUs, change prices and limits, and take
    /// units off sale that nobody holds or has bought.
    ///
    /// It loads nothing into a Redis that is set so that it may lose it.
    pub async fn load(&self, spec: &SaleSpec) -> Result<LoadOutcome> {
        let conflicts = spec.conflicts();
        if !conflicts.is_empty() {
            return Ok(LoadOutcome::ConflictingSpec(conflicts));
        }
        self.ensure_safe().await?;
        let mut arguments = Arguments::default().with(spec.fence);
        arguments.push_terms(spec);
        spec.items.iter().for_each(|item| arguments.push_item(item));
        // We list the sale before it exists, so that nobody ever overlooks a sale with a stream.
        self.query_sales::<i64>(redis::cmd("SADD").arg(keys::SALES).arg(spec.id.to_string())).await?;
        let mut reply = self.call::<Reply>(LOAD, spec.id, arguments).await?;
        let outcome = reply.outcome(|name, rest| {
            Ok(Some(match name {
                "loaded" => LoadOutcome::Loaded,
                "already_loaded" => LoadOutcome::AlreadyLoaded,
                "stale_fence" => LoadOutcome::StaleFence { seen: rest.number()? },
                "conflict" => LoadOutcome::ConflictingSpec(read_conflicts(rest)?),
                _ => return Ok(None),
            }))
        })?;
        if outcome == LoadOutcome::Loaded {
            self.sold_out.clear(spec.id);
        }
        Ok(outcome)
    }

    pub async fn set_state(&self, sale: SaleId, fence: u64, state: SaleState) -> Result<SetStateOutcome> {
        let arguments = Arguments::default().with(exact(fence)?).with(state.as_str());
        self.call::<Reply>(SET_STATE, sale, arguments).await?.outcome(|name, rest| {
            Ok(Some(match name {
                "set" => SetStateOutcome::Set,
                "stale_fence" => SetStateOutcome::StaleFence { seen: rest.number()? },
                "already_closed" => SetStateOutcome::AlreadyClosed,
                "unknown_sale" => SetStateOutcome::UnknownSale,
                _ => return Ok(None),
            }))
        })
    }

    /// All counters of a sale in one atomic read; `None` if it is not loaded.
    pub async fn counters(&self, sale: SaleId) -> Result<Option<SaleCounters>> {
        self.read_counters(sale, Arguments::default()).await
    }

    /// The same, but only with the counters of those `skus` that the sale has; all of them if `skus` is
    /// empty. The standing stock has more SKUs than one read should make Redis wait for.
    pub async fn counters_of<'a>(
        &self,
        sale: SaleId,
        skus: impl IntoIterator<Item = &'a str>,
    ) -> Result<Option<SaleCounters>> {
        let mut arguments = Arguments::default();
        for sku in skus {
            arguments.push_text(sku);
        }
        self.read_counters(sale, arguments).await
    }

    async fn read_counters(&self, sale: SaleId, arguments: Arguments) -> Result<Option<SaleCounters>> {
        let Some(mut reply) = self.call::<Option<Reply>>(COUNTERS, sale, arguments).await? else {
            return Ok(None);
        };
        let mut counters = SaleCounters {
            now_ms: reply.number()?,
            name: reply.text()?,
            currency: reply.text()?,
            state: read_state(&reply.text()?)?,
            fence: reply.number()?,
            epoch: reply.number()?,
            opens_at_ms: reply.number()?,
            closes_at_ms: reply.optional_number()?,
            payment_seconds: reply.number()?,
            outstanding_reservations: reply.number()?,
            stream_length: reply.number()?,
            last_event_id: reply.text()?,
            items: Vec::new(),
        };
        while !reply.is_empty() {
            counters.items.push(ItemCounters {
                sku: reply.text()?,
                preloaded: reply.number()?,
                remaining: reply.number()?,
                reserved: reply.number()?,
                sold: reply.number()?,
                price: reply.number()?,
                limit: reply.optional_number()?,
            });
        }
        Ok(Some(counters))
    }

    /// Forgets a closed sale once all its reservations are decided and all its events are carried on.
    pub async fn purge(&self, sale: SaleId, fence: u64) -> Result<PurgeOutcome> {
        let mut reply = self.call::<Reply>(PURGE, sale, Arguments::default().with(exact(fence)?)).await?;
        let outcome = reply.outcome(|name, rest| {
            Ok(Some(match name {
                "purged" => PurgeOutcome::Purged,
                "stale_fence" => PurgeOutcome::StaleFence { seen: rest.number()? },
                "not_closed" => PurgeOutcome::NotClosed,
                "not_drained" => PurgeOutcome::NotDrained {
                    outstanding_reservations: rest.number()?,
                    stream_length: rest.number()?,
                },
                _ => return Ok(None),
            }))
        })?;
        if outcome == PurgeOutcome::Purged {
            self.query_sales::<i64>(redis::cmd("SREM").arg(keys::SALES).arg(sale.to_string())).await?;
        }
        Ok(outcome)
    }

    /// Puts a sale back on the list if the list has lost it.
    pub async fn enlist(&self, sale: SaleId) -> Result<()> {
        self.query_sales::<i64>(redis::cmd("SADD").arg(keys::SALES).arg(sale.to_string())).await.map(|_| ())
    }

    /// The ids of all sales that have a stream, or are about to. In a cluster one master has the list, and
    /// may have lost it while the others still have their sales.
    pub async fn sales(&self) -> Result<Vec<SaleId>> {
        let members = redis::cmd("SMEMBERS").arg(keys::SALES).take();
        let ids: Vec<String> = self.route.to(keys::SALES).await?.query(&members).await?;
        ids.iter().map(|id| id.parse().map_err(|_| unexpected("a sale id", id))).collect()
    }
}

fn read_conflicts(rest: &mut Reply) -> Result<Vec<SpecConflict>> {
    let mut conflicts = Vec::new();
    while !rest.is_empty() {
        conflicts.push(SpecConflict { field: rest.text()?, rule: rest.text()? });
    }
    Ok(conflicts)
}

fn read_state(word: &str) -> Result<SaleState> {
    SaleState::parse(word).ok_or_else(|| unexpected("a state", word))
}

fn exact(fence: u64) -> Result<u64> {
    if fence > MAX_FENCE {
        return Err(StockError::Protocol(format!("fence {fence} is above 2^53 - 1")));
    }
    Ok(fence)
}
