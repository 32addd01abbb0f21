//! The sales this replica knows of.
//!
//! Every replica keeps the list in memory and reads it anew twice a second, so that any number of
//! shoppers watching a sale cost PostgreSQL and Redis nothing. While one of them is away the last
//! list known is shown.
//!
//! An order that no listed sale has may belong to a sale that was loaded a moment ago. Whoever looks
//! for it asks for a reading at once and waits for one that begins after asking. All who wait share
//! it, and readings keep a distance, so that ids nobody has cost a few readings a second, however
//! many are asked for.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use arc_swap::ArcSwapOption;
use rocketmart_stock::{OrderId, SaleCounters, SaleId, Stock};
use sqlx::PgPool;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::sales::{SaleItemView, SalePhase, SaleView};
use crate::domain::sale::SaleState;
use crate::domain::standing::may_be_standing;
use crate::store::clock::at;
use crate::store::sales::{self, Sale};
use crate::store::standing;

const REFRESH: Duration = Duration::from_millis(500);
/// Least time between the beginnings of two readings.
const DISTANCE: Duration = Duration::from_millis(100);
/// How long a reading is waited for: with PostgreSQL away none comes.
const PATIENCE: Duration = Duration::from_secs(1);
/// Sales kept in the list.
const NEWEST: i64 = 100;

/// Cheap to clone; all clones share the list.
#[derive(Clone)]
pub(crate) struct SaleList(Arc<Shared>);

struct Shared {
    known: ArcSwapOption<Known>,
    /// Somebody cannot wait for the next reading.
    wanted: Notify,
    /// Readings that have begun, and the number of the last one that has ended.
    begun: AtomicU64,
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct Known {
    /// Newest first.
    sales: Vec<SaleView>,
    /// Those with reservations in Redis, the ordinary stock among them.
    loaded: Vec<SaleId>,
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
    pub(crate) fn all(&self) -> Vec<SaleView> {
        self.0.known.load().as_ref().map(|known| known.sales.clone()).unwrap_or_default()
    }

    /// The id a path names: an id itself, or the name of a sale. Of several sales of one name the
    /// newest is meant. Ordinary stock is bought from a cart, at a price that was agreed to.
    pub(crate) fn resolve(&self, named: &str) -> Option<SaleId> {
        if let Ok(id) = named.parse() {
            return Some(SaleId(id)).filter(|_| !may_be_standing(id));
        }
        self.find(|sale| sale.name == named).map(|sale| SaleId(sale.id))
    }

    pub(crate) fn get(&self, id: SaleId) -> Option<SaleView> {
        self.find(|sale| sale.id == id.0)
    }

    fn find(&self, wanted: impl Fn(&SaleView) -> bool) -> Option<SaleView> {
        self.0.known.load().as_ref().and_then(|known| known.sales.iter().find(|sale| wanted(sale)).cloned())
    }

    /// Sales in which an order may be found in Redis, to be looked at one after the other.
    pub(crate) fn places_of(&self, order: OrderId) -> Places<'_> {
        Places { list: self, order, sales: self.where_to_look_for(order), looked_at: 0, read_anew: false }
    }

    /// First the sale its id hints at, which is nearly always right, so that looking for an order
    /// costs the same however many sales there are.
    fn where_to_look_for(&self, order: OrderId) -> Vec<SaleId> {
        let mut sales = self.0.known.load().as_ref().map(|known| known.loaded.clone()).unwrap_or_default();
        sales.sort_by_key(|sale| !order.hints_at(*sale));
        sales
    }

    pub(crate) fn ready(&self) -> anyhow::Result<()> {
        ensure!(self.0.known.load().is_some(), "the list of sales has not been read yet");
        Ok(())
    }

    /// Returns once a reading that began after this call has ended, well or not, or patience has.
    async fn read_anew(&self) {
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
        let read = move || {
            let (pool, stock) = (pool.clone(), stock.clone());
            async move { read(&pool, &stock).await }
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

/// The sales an order may be in: those listed, then those that a new reading adds.
pub(crate) struct Places<'a> {
    list: &'a SaleList,
    order: OrderId,
    sales: Vec<SaleId>,
    looked_at: usize,
    read_anew: bool,
}

impl Places<'_> {
    /// The next sale to ask; `None` when all there are were asked.
    pub(crate) async fn next(&mut self) -> Option<SaleId> {
        if self.looked_at == self.sales.len() && !self.read_anew {
            self.read_anew = true;
            self.list.read_anew().await;
            let added = self.list.where_to_look_for(self.order);
            let added: Vec<_> = added.into_iter().filter(|sale| !self.sales.contains(sale)).collect();
            self.sales.extend(added);
        }
        let sale = self.sales.get(self.looked_at).copied()?;
        self.looked_at += 1;
        Some(sale)
    }
}

async fn read(pool: &PgPool, stock: &Stock) -> anyhow::Result<Known> {
    let sales = sales::newest(pool, NEWEST).await?;
    let standing = standing::loaded(pool).await?.into_iter().map(SaleId).collect();
    let mut known = Known { sales: Vec::with_capacity(sales.len()), loaded: standing };
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    use uuid::Uuid;

    use super::*;

    const SALE: SaleId = SaleId(Uuid::from_u128(7));
    const NEWER: SaleId = SaleId(Uuid::from_u128(8));

    /// A list whose readings find what is in `loaded`, and a count of them.
    struct Desk {
        list: SaleList,
        loaded: Arc<Mutex<Vec<SaleId>>>,
        readings: Arc<AtomicUsize>,
    }

    impl Desk {
        fn open() -> Self {
            let desk = Self {
                list: SaleList::default(),
                loaded: Arc::new(Mutex::new(vec![SALE])),
                readings: Arc::default(),
            };
            let (list, loaded, readings) = (desk.list.clone(), desk.loaded.clone(), desk.readings.clone());
            tokio::spawn(async move {
                let read = move || {
                    readings.fetch_add(1, Ordering::SeqCst);
                    let loaded = loaded.lock().unwrap().clone();
                    std::future::ready(Ok(Known { loaded, ..Known::default() }))
                };
                list.refresh_with(read, CancellationToken::new()).await;
            });
            desk
        }

        async fn look(&self) -> Vec<SaleId> {
            let mut places = self.list.places_of(OrderId::fresh(NEWER));
            let mut looked_at = Vec::new();
            while let Some(sale) = places.next().await {
                looked_at.push(sale);
            }
            looked_at
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sale_loaded_a_moment_ago_is_found_by_who_looks_for_its_order() {
        let desk = Desk::open();
        desk.list.read_anew().await;
        assert!(desk.list.ready().is_ok());
        desk.loaded.lock().unwrap().push(NEWER);
        assert_eq!(desk.look().await, [SALE, NEWER], "each once, also after the new reading");
        assert_eq!(desk.list.where_to_look_for(OrderId::fresh(NEWER))[0], NEWER, "the hint comes first");
    }

    #[tokio::test(start_paused = true)]
    async fn any_number_of_looks_for_orders_nobody_has_share_a_bounded_number_of_readings() {
        let desk = Desk::open();
        let began = Instant::now();
        let looks = (0..200).map(async |_| {
            for _ in 0..5 {
                desk.look().await;
            }
        });
        futures::future::join_all(looks).await;
        let at_most = began.elapsed().as_millis() / DISTANCE.as_millis() + 2;
        let readings = desk.readings.load(Ordering::SeqCst);
        assert!(readings as u128 <= at_most, "{readings} readings for 1,000 looks, {at_most} are allowed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_ends_when_no_reading_comes() {
        let list = SaleList::default();
        let mut places = list.places_of(OrderId::fresh(SALE));
        assert_eq!(places.next().await, None);
    }
}
