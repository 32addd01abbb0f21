//! The shelves of a standing sale in Redis: makes Redis offer what SQL says, and takes units off.
//!
//! The caller holds the lock of the ordinary stock in `tx` throughout.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use rocketmart_stock::{
    ItemSpec, LoadOutcome, SaleCounters, SaleId, SaleSpec, SaleState, SetStateOutcome, Stock, StockError,
};
use sqlx::PgConnection;

use crate::domain::standing::sale_id;
use crate::store::standing::{self, Offered, OnShelf, Units};

/// How often we try to take off units that buyers may reserve meanwhile.
const TRIES: usize = 3;

/// Why units cannot be taken off a shelf.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    /// Buyers of ordinary stock hold or have bought units of these SKUs.
    #[error("not all units of {0:?} are free")]
    Spoken(Vec<String>),
    /// Redis has lost the standing sale, or does not answer.
    #[error(transparent)]
    Away(#[from] StockError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Takes units off a currency's shelves, all or none. They leave Redis at once, and leave SQL when `tx`,
/// which has locked them, commits. If it does not commit, comparing the shelves gives Redis the units back.
pub(crate) async fn take(
    stock: &Stock,
    tx: &mut PgConnection,
    currency: &str,
    units: &Units,
) -> Result<(), NotTaken> {
    if units.is_empty() {
        return Ok(());
    }
    let skus: Vec<&str> = units.keys().map(String::as_str).collect();
    let offered = standing::offered(tx, currency, &skus).await?;
    let free = |sku: &String| {
        let on_shelf = offered.as_ref().and_then(|offered| offered.items.get(sku));
        on_shelf.map_or(0, |on_shelf| on_shelf.remaining)
    };
    let spoken: Vec<String> =
        units.iter().filter(|(sku, units)| free(sku) < **units).map(|(sku, _)| sku.clone()).collect();
    let Some(offered) = offered.filter(|_| spoken.is_empty()) else {
        return Err(NotTaken::Spoken(spoken));
    };
    let held = held(stock, currency, &offered, &skus).await?;
    reduce(stock, tx, currency, &offered, held.as_ref(), units).await?;
    standing::take_off(tx, currency, units).await?;
    Ok(())
}

/// Takes off up to this many units of each SKU, as far as they are free, and returns what it took.
pub(super) async fn take_free(
    stock: &Stock,
    tx: &mut PgConnection,
    currency: &str,
    mut wanted: Units,
) -> Result<Units, NotTaken> {
    for _ in 0..TRIES {
        let skus: Vec<&str> = wanted.keys().map(String::as_str).collect();
        let Some(offered) = standing::offered(tx, currency, &skus).await? else { break };
        let held = held(stock, currency, &offered, &skus).await?;
        if let Some(held) = &held {
            for item in &held.items {
                wanted
                    .entry(item.sku.clone())
                    .and_modify(|units| *units = (*units).min(item.remaining.into()));
            }
        }
        wanted.retain(|_, units| *units > 0);
        if wanted.is_empty() {
            break;
        }
        match reduce(stock, tx, currency, &offered, held.as_ref(), &wanted).await {
            Ok(()) => {
                standing::take_off(tx, currency, &wanted).await?;
                return Ok(wanted);
            }
            Err(NotTaken::Spoken(_)) => {} // bought meanwhile: look again at what is free
            Err(error) => return Err(error),
        }
    }
    Ok(Units::new())
}

/// Makes Redis offer what SQL says about these SKUs. Only this function ever raises an offer in Redis.
pub(super) async fn push(
    stock: &Stock,
    tx: &mut PgConnection,
    currency: &str,
    skus: &[&str],
) -> anyhow::Result<()> {
    let Some(offered) = standing::offered(tx, currency, skus).await? else { return Ok(()) };
    let held = held(stock, currency, &offered, skus).await?;
    let different: BTreeMap<&str, OnShelf> = offered
        .items
        .iter()
        .filter(|(sku, on_shelf)| !holds(held.as_ref(), sku, on_shelf))
        .map(|(sku, on_shelf)| (sku.as_str(), *on_shelf))
        .collect();
    let seen = held.as_ref().map_or(0, |held| held.fence);
    let more_time = held.as_ref().is_none_or(|held| held.payment_seconds < offered.payment_seconds);
    if !different.is_empty() || more_time {
        let fence = standing::next_fence(tx, seen).await?;
        load_each(stock, currency, &offered, fence, &different).await?;
        tracing::info!(currency, skus = different.len(), "offered ordinary stock");
    }
    if !offered.loaded {
        // Committed before the sale sells anything: from then on Redis may not start over. The next look
        // lets it sell.
        standing::set_loaded(tx, currency).await?;
    } else if offered.ready && held.is_some_and(|held| held.state != SaleState::Ready) {
        let fence = exact(standing::next_fence(tx, seen).await?)?;
        let state = stock.set_state(SaleId(sale_id(currency)), fence, SaleState::Ready).await?;
        if state != SetStateOutcome::Set {
            bail!("Redis does not sell: {state:?}");
        }
    }
    Ok(())
}

/// Takes units off in Redis, all or none.
async fn reduce(
    stock: &Stock,
    tx: &mut PgConnection,
    currency: &str,
    offered: &Offered,
    held: Option<&SaleCounters>,
    units: &Units,
) -> Result<(), NotTaken> {
    let fence = standing::next_fence(tx, held.map_or(0, |held| held.fence)).await?;
    let left: BTreeMap<&str, OnShelf> = units
        .iter()
        .filter_map(|(sku, taken)| {
            let on_shelf = offered.items.get(sku)?;
            Some((sku.as_str(), OnShelf { preloaded: on_shelf.preloaded - taken, ..*on_shelf }))
        })
        .collect();
    match stock.load(&spec(currency, offered, fence, &left)).await? {
        LoadOutcome::Loaded | LoadOutcome::AlreadyLoaded => Ok(()),
        LoadOutcome::StaleFence { seen } => {
            Err(StockError::Unavailable(format!("fence {seen} was there first")).into())
        }
        LoadOutcome::ConflictingSpec(conflicts) => {
            tracing::debug!(currency, ?conflicts, "units were bought meanwhile");
            let about = |sku: &&str| conflicts.iter().any(|c| c.field == format!("items[{sku}].units"));
            Err(NotTaken::Spoken(left.into_keys().filter(about).map(str::to_owned).collect()))
        }
    }
}

/// Loads items together, or one by one if Redis refuses them: an item beyond what Redis can count must not
/// keep the others off sale.
async fn load_each(
    stock: &Stock,
    currency: &str,
    offered: &Offered,
    fence: i64,
    items: &BTreeMap<&str, OnShelf>,
) -> anyhow::Result<()> {
    if is_loaded(stock.load(&spec(currency, offered, fence, items)).await?)? {
        return Ok(());
    }
    for (sku, on_shelf) in items {
        let alone = spec(currency, offered, fence, &BTreeMap::from([(*sku, *on_shelf)]));
        if !is_loaded(stock.load(&alone).await?)? {
            tracing::error!(currency, sku, ?on_shelf, "Redis refuses an offer");
            metrics::counter!("order_standing_refused_total").increment(1);
        }
    }
    Ok(())
}

fn is_loaded(outcome: LoadOutcome) -> anyhow::Result<bool> {
    match outcome {
        LoadOutcome::Loaded | LoadOutcome::AlreadyLoaded => Ok(true),
        LoadOutcome::ConflictingSpec(conflicts) => {
            tracing::debug!(?conflicts, "Redis refuses");
            Ok(false)
        }
        outcome @ LoadOutcome::StaleFence { .. } => bail!("{outcome:?}"),
    }
}

/// What Redis holds of the sale. If Redis held it once and now holds nothing, Redis has lost it. Then
/// nothing may go on sale before the rebuild: it may be sold already.
async fn held(
    stock: &Stock,
    currency: &str,
    offered: &Offered,
    skus: &[&str],
) -> Result<Option<SaleCounters>, StockError> {
    let held = stock.counters_of(SaleId(sale_id(currency)), skus.iter().copied()).await?;
    if !offered.trusted || (held.is_none() && offered.loaded) {
        return Err(StockError::Unavailable(format!("Redis has lost the ordinary stock in {currency}")));
    }
    Ok(held)
}

/// Whether Redis holds this SKU at this price, with this many units ever put on sale.
fn holds(held: Option<&SaleCounters>, sku: &str, on_shelf: &OnShelf) -> bool {
    let item = held.and_then(|held| held.items.iter().find(|item| item.sku == sku));
    item.is_some_and(|item| i64::from(item.preloaded) == on_shelf.preloaded && item.price == on_shelf.price)
}

fn spec(currency: &str, offered: &Offered, fence: i64, items: &BTreeMap<&str, OnShelf>) -> SaleSpec {
    let items = items.iter().map(|(sku, on_shelf)| ItemSpec {
        sku: (*sku).to_owned(),
        // A number too large for `u32` saturates. Redis then refuses it for its total value, instead of
        // selling a truncated number.
        units: u32::try_from(on_shelf.preloaded).unwrap_or(u32::MAX),
        price: on_shelf.price,
        per_buyer_limit: None,
    });
    SaleSpec {
        id: SaleId(sale_id(currency)),
        name: offered.name.clone(),
        fence: u64::try_from(fence).unwrap_or_default(),
        currency: currency.to_owned(),
        opens_at_ms: 0,
        closes_at_ms: None,
        payment_seconds: offered.payment_seconds,
        items: items.collect(),
    }
}

fn exact(fence: i64) -> anyhow::Result<u64> {
    u64::try_from(fence).context("a negative fence")
}
