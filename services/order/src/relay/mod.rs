//! `order-relay`: carries Redis' decisions to Kafka, enforces deadlines, and trims the streams.
//!
//! Every sale with a stream has two loops: [`stream`] reads, sends and trims, and [`expiry`] releases what
//! was not paid in time. The relay keeps nothing on disk. When it starts, it reads each stream from the
//! beginning and sends again what it may have sent before. Two relays at once send everything twice, which
//! the workers' inbox absorbs, and trim only what SQL has.
//!
//! When Redis has lost something, [`drain`] says when SQL has everything that left it.

mod drain;
mod expiry;
pub mod old_orders;
mod stream;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rocketmart_contracts::component::Component;
use rocketmart_contracts::topic::{DELIVERIES, PAYMENTS, RESERVATIONS};
use rocketmart_kit::config::{self, DatabaseConfig, KafkaConfig, ListenConfig};
use rocketmart_kit::kafka::{GroupProgress, Producer};
use rocketmart_kit::pace::Pace;
use rocketmart_kit::service::Service;
use rocketmart_stock::{PurgeOutcome, SaleId, Stock, StockError};
use sqlx::PgPool;
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::store::{sales, trust};
use crate::{GraceConfig, MIGRATOR, StockConfig, readiness, vouch, worker};

const COMPONENT: &str = Component::OrderRelay.as_str();
/// How soon we notice a new sale; it is loaded well before it opens.
const LOOK: Duration = Duration::from_millis(500);
/// Pause after a failure of Redis, Kafka or PostgreSQL.
const ERROR_PAUSE: Duration = Duration::from_millis(500);
/// Redis forgets a sale this long after its books were signed off.
const FORGET_AFTER: time::Duration = time::Duration::days(1);
/// Redis forgets an order of ordinary stock this long after it was made.
const FORGET_ORDERS_AFTER: time::Duration = time::Duration::days(30);
const FORGET_EVERY: Duration = Duration::from_mins(10);

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub listen: ListenConfig,
    #[command(flatten)]
    pub database: DatabaseConfig,
    #[command(flatten)]
    pub stock: StockConfig,
    #[command(flatten)]
    pub kafka: KafkaConfig,
    #[command(flatten)]
    pub grace: GraceConfig,
}

/// Runs until SIGTERM.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let listen = args.listen.clone();
    Service::start(&listen, service(args)).await
}

/// The assembled process, with its schema up to date.
pub async fn service(args: Args) -> anyhow::Result<Service> {
    let pool = args.database.connect().await?;
    config::migrate(&pool, &MIGRATOR).await?;
    let stock = args.stock.connect()?;
    let producer = args.kafka.producer()?;
    let grace = args.grace.whole();
    let booked =
        GroupProgress::new(&args.kafka, worker::COMPONENT.as_str(), &[RESERVATIONS, PAYMENTS, DELIVERIES])?;
    let relay = Relay { pool, stock, producer, grace, in_hand: Arc::default() };
    let (forget, drain, trusting) = (relay.clone(), relay.clone(), relay.clone());
    let service = Service::new(COMPONENT, &args.listen);
    Ok(readiness::of_all_stores(service, &relay.pool, &relay.stock, &relay.producer)
        .task("sales", move |stop| relay.watch(stop))
        .task("drain", move |stop| drain::run(drain, booked, stop))
        .task("vouch", move |stop| vouch::keep(trusting.pool, trusting.stock, stop))
        .task("forget", move |stop| forget.forget_loop(stop)))
}

#[derive(Clone)]
struct Relay {
    pool: PgPool,
    stock: Stock,
    producer: Producer,
    grace: Duration,
    /// Held for reading while entries are out of Redis and not yet in Kafka.
    in_hand: Arc<RwLock<()>>,
}

impl Relay {
    /// Runs the loops of every existing sale, and stops those of sales that are gone.
    async fn watch(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut running: HashMap<SaleId, CancellationToken> = HashMap::new();
        let mut loops = JoinSet::new();
        let mut session = BTreeSet::new();
        while !stop.is_cancelled() {
            match self.look().await {
                Ok((found, sales)) => {
                    if !found.is_subset(&session) {
                        // Redis may have come back with entries that were trimmed before, so each stream is
                        // read from its beginning.
                        for (_, stop) in running.drain() {
                            stop.cancel();
                        }
                        session = found;
                    }
                    for sale in &sales {
                        running.entry(*sale).or_insert_with(|| {
                            tracing::info!(%sale, "relaying");
                            let stop = stop.child_token();
                            loops.spawn(stream::Stream::new(self.clone(), *sale).run(stop.clone()));
                            loops.spawn(expiry::run(self.clone(), *sale, stop.clone()));
                            stop
                        });
                    }
                    running.retain(|sale, stop| {
                        let stays = sales.contains(sale);
                        if !stays {
                            stop.cancel();
                        }
                        stays
                    });
                }
                Err(error) => tracing::warn!(%error, "cannot list the sales"),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                // A loop ends only when it is told to. One that panics takes the process with it.
                Some(ended) = loops.join_next() => ended?,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        while let Some(ended) = loops.join_next().await {
            ended?;
        }
        Ok(())
    }

    /// Which run of Redis this is, and the sales that it has or should have. In a cluster one master keeps
    /// the list. That master may have lost it, or be away, while the others keep selling.
    async fn look(&self) -> anyhow::Result<(BTreeSet<String>, HashSet<SaleId>)> {
        let session = self.stock.session().await?;
        let expected = trust::all_expected(&self.pool).await?.into_iter().map(SaleId);
        let mut sales: HashSet<_> = expected.collect();
        match self.list(&sales).await {
            Ok(listed) => sales.extend(self.not_signed_off(listed).await?),
            Err(error) => tracing::warn!(%error, "the list of sales cannot be read, or not be completed"),
        }
        Ok((session, sales))
    }

    /// The sales that Redis lists. Expected sales that are missing there are added to its list again.
    async fn list(&self, expected: &HashSet<SaleId>) -> Result<Vec<SaleId>, StockError> {
        let listed = self.stock.sales().await?;
        let missing = expected.iter().filter(|sale| !listed.contains(sale));
        for sale in missing {
            self.stock.enlist(*sale).await?;
        }
        Ok(listed)
    }

    /// A sale whose books are signed off has nothing left to carry or to expire.
    async fn not_signed_off(&self, mut listed: Vec<SaleId>) -> sqlx::Result<Vec<SaleId>> {
        let ids: Vec<_> = listed.iter().map(|sale| sale.0).collect();
        let signed_off = sales::signed_off(&self.pool, &ids).await?;
        listed.retain(|sale| !signed_off.contains(&sale.0));
        Ok(listed)
    }

    /// Lets Redis forget sales that were signed off long ago, and old orders of the ordinary stock, which
    /// never ends.
    async fn forget_loop(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut pace = Pace::every(FORGET_EVERY, "cannot forget finished sales");
        while pace.rest(self.forget().await, &stop).await {}
        Ok(())
    }

    async fn forget(&self) -> anyhow::Result<()> {
        let finished = sales::closed_out_before(&self.pool, FORGET_AFTER).await?;
        let kept = self.stock.sales().await?;
        for (sale, fence) in finished {
            let sale = SaleId(sale);
            if kept.contains(&sale) {
                match self.stock.purge(sale, u64::try_from(fence)?).await? {
                    PurgeOutcome::Purged => tracing::info!(%sale, "Redis has forgotten a finished sale"),
                    outcome => tracing::warn!(%sale, ?outcome, "a finished sale stays in Redis"),
                }
            }
        }
        let then = time::OffsetDateTime::now_utc() - FORGET_ORDERS_AFTER;
        let orders = old_orders::forget(&self.pool, &self.stock, then).await?;
        if orders > 0 {
            tracing::info!(orders, "Redis has forgotten old orders of ordinary stock");
        }
        Ok(())
    }
}
