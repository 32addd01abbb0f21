//! The sales that this replica knows.
//!
//! Every replica keeps in memory all sales whose books are not signed off, however many there are, and some
//! of the others. It rereads them twice a second, so any number of shoppers who watch a sale cost
//! PostgreSQL and Redis nothing. While PostgreSQL is away the replica shows the last list it read; for a
//! sale whose Redis is away it shows the last it heard. Sales that ended long ago are looked up
//! ([`find_sale`](super::find_sale)).
//!
//! An order's id ends like its sale's id, so we look for an order only where it can be.
//!
//! A sale that is not listed may have been loaded a moment ago. Whoever looks for it requests a reading and
//! waits for one that begins after the request. All who wait share it, and there is a minimum time between
//! readings.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use arc_swap::ArcSwapOption;
use futures::{StreamExt, stream};
use rocketmart_contracts::internal_api::SaleState;
use rocketmart_stock::{OrderId, SaleId, Stock};
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::sales::SaleView;
use crate::store::sales::{self, Sale};
use crate::store::standing;

const REFRESH: Duration = Duration::from_millis(500);
/// The least time between the starts of two readings.
const DISTANCE: Duration = Duration::from_millis(100);
/// How long to wait for a reading: while PostgreSQL is away there is none.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many signed-off sales we keep for those who look at the list; the rest are looked up.
const FINISHED: u16 = 100;
/// How many sales we ask Redis about at the same time.
const ASKED_AT_ONCE: usize = 32;

/// A place in the list: when the sale there opens, and its id.
pub(super) type Place = (OffsetDateTime, Uuid);

/// Cheap to clone; all clones share the list.
#[derive(Clone)]
pub(crate) struct SaleList(Arc<Shared>);

struct Shared {
    known: ArcSwapOption<Known>,
    /// Signals that somebody cannot wait for the next reading.
    wanted: Notify,
    /// How many readings have begun, and the number of the last one that ended.
    begun: AtomicU64,
    ended: watch::Sender<u64>,
}

/// A sale in the list.
#[derive(Clone)]
pub(super) struct Listed {
    pub(super) view: SaleView,
    /// Its books are closed and PostgreSQL has everything about it, so we no longer ask Redis.
    pub(super) signed_off: bool,
}

impl Listed {
    fn place(&self) -> Place {
        place(&self.view)
    }
}

/// Where a sale stands in the list.
pub(super) fn place(sale: &SaleView) -> Place {
    (sale.opens_at, sale.id)
}

#[derive(Default)]
struct Known {
    /// Latest opening first.
    sales: Vec<Listed>,
    by_id: HashMap<Uuid, usize>,
    by_name: HashMap<String, usize>,
    /// Sales with reservations in Redis, the ordinary stock among them, by the bytes that their orders' ids
    /// end with.
    loaded: HashMap<[u8; 2], Vec<SaleId>>,
    /// After this place there may be more sales; `None` means that these are all.
    whole_until: Option<Place>,
}

impl Known {
    fn new(sales: Vec<Listed>, loaded: impl IntoIterator<Item = SaleId>) -> Self {
        let mut known = Self::default();
        for sale in loaded {
            known.loaded.entry(sale.ending()).or_default().push(sale);
        }
        for (at, Listed { view, .. }) in sales.iter().enumerate() {
            known.by_id.insert(view.id, at);
            known.by_name.entry(view.name.clone()).or_insert(at);
        }
        let mut finished = sales.iter().filter(|sale| sale.signed_off);
        known.whole_until = finished.nth(usize::from(FINISHED) - 1).map(Listed::place);
        known.sales = sales;
        known
    }

    fn get(&self, id: Uuid) -> Option<&Listed> {
        self.by_id.get(&id).and_then(|at| self.sales.get(*at))
    }
}

impl Default for SaleList {
    fn default() -> Self {
        Self(Arc::new(Shared {
            known: ArcSwapOption::empty(),
            wanted: Notify::new(),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(0),
        }))
    }
}

impl SaleList {
    /// Up to `count` sales after `after`; `None` if the list does not reach that far.
    pub(super) fn page(&self, after: Option<Place>, count: usize) -> Option<Vec<SaleView>> {
        let known = self.0.known.load();
        let known = known.as_ref()?;
        let first = known.sales.partition_point(|sale| after.is_some_and(|after| sale.place() >= after));
        let page: Vec<_> = known.sales.iter().skip(first).take(count).collect();
        let whole = known
            .whole_until
            .is_none_or(|until| page.len() == count && page.last().is_some_and(|last| last.place() >= until));
        whole.then(|| page.into_iter().map(|sale| sale.view.clone()).collect())
    }

    pub(super) fn get(&self, id: SaleId) -> Option<Listed> {
        self.0.known.load().as_ref().and_then(|known| known.get(id.0).cloned())
    }

    /// Whether the sale's books are signed off; `None` if the sale is not listed.
    pub(super) fn is_signed_off(&self, id: SaleId) -> Option<bool> {
        self.0.known.load().as_ref().and_then(|known| Some(known.get(id.0)?.signed_off))
    }

    /// When several sales share a name, the one that opens last is meant.
    pub(super) fn named(&self, name: &str) -> Option<SaleId> {
        let known = self.0.known.load();
        let known = known.as_ref()?;
        known.by_name.get(name).and_then(|at| known.sales.get(*at)).map(|sale| SaleId(sale.view.id))
    }

    /// The sales in which Redis may have an order, judging by its id: nearly always one at most.
    pub(super) fn places_of(&self, order: OrderId) -> Vec<SaleId> {
        let known = self.0.known.load();
        known.as_ref().and_then(|known| known.loaded.get(&order.ending()).cloned()).unwrap_or_default()
    }

    pub(super) fn ready(&self) -> anyhow::Result<()> {
        ensure!(self.0.known.load().is_some(), "the list of sales has not been read yet");
        Ok(())
    }

    /// Returns once a reading that began after this call has ended, successful or not, or once patience
    /// runs out.
    pub(super) async fn read_anew(&self) {
        let begun = self.0.begun.load(Ordering::SeqCst);
        let mut ended = self.0.ended.subscribe();
        self.0.wanted.notify_one();
        let _ = tokio::time::timeout(PATIENCE, ended.wait_for(|ended| *ended > begun)).await;
    }

    /// Reads the list again and again until `stop`.
    pub(crate) async fn refresh_loop(
        self,
        pool: PgPool,
        stock: Stock,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let shared = Arc::clone(&self.0);
        let read = move || {
            let (pool, stock, before) = (pool.clone(), stock.clone(), shared.known.load_full());
            async move { read(&pool, &stock, before.as_deref()).await }
        };
        self.refresh_with(read, stop).await;
        Ok(())
    }

    async fn refresh_with<F, Reading>(&self, read: F, stop: CancellationToken)
    where
        F: Fn() -> Reading + Send,
        Reading: Future<Output = anyhow::Result<Known>> + Send,
    {
        loop {
            let began = Instant::now();
            let number = self.0.begun.fetch_add(1, Ordering::SeqCst) + 1;
            match read().await {
                Ok(known) => self.0.known.store(Some(Arc::new(known))),
                Err(error) => tracing::warn!(error = format!("{error:#}"), "cannot read the list of sales"),
            }
            self.0.ended.send_replace(number);
            let wanted = async {
                self.0.wanted.notified().await;
                tokio::time::sleep_until(began + DISTANCE).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(REFRESH) => {}
                () = wanted => {}
            }
        }
    }
}

async fn read(pool: &PgPool, stock: &Stock, before: Option<&Known>) -> anyhow::Result<Known> {
    let found = sales::current(pool, FINISHED.into()).await?;
    let standing = standing::loaded(pool).await?;
    let in_redis = |sale: &Sale| sale.loaded && sale.state != SaleState::ClosedOut;
    let loaded = found.iter().filter(|sale| in_redis(sale)).map(|sale| sale.id).chain(standing);
    let loaded: Vec<_> = loaded.map(SaleId).collect();
    let listed = stream::iter(found)
        .map(async |sale| {
            let signed_off = sale.state == SaleState::ClosedOut;
            let counters = if in_redis(&sale) { stock.counters(SaleId(sale.id)).await } else { Ok(None) };
            let view = match counters {
                Ok(counters) => SaleView::of(sale, counters.as_ref()),
                Err(error) => {
                    tracing::debug!(sale = %sale.id, %error, "Redis does not tell how a sale stands");
                    let last = before.and_then(|before| before.get(sale.id));
                    last.map_or_else(|| SaleView::of(sale, None), |last| last.view.clone())
                }
            };
            Listed { view, signed_off }
        })
        .buffered(ASKED_AT_ONCE);
    Ok(Known::new(listed.collect().await, loaded))
}

#[cfg(test)]
mod tests;
