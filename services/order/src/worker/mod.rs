//! `order-worker`: turns events into orders, ledger and stock, tells the others through the outbox, and
//! keeps the ordinary stock on offer. Any number of replicas share the work.

mod booking;
mod completion;
mod deferred_payments;
mod deferred_reservations;
mod handle;
mod levels;
mod read;
mod resumed_payments;
mod resumed_reservations;
mod verdicts;
mod violation;

use std::sync::Arc;
use std::time::Duration;

use rocketmart_contracts::component::Component;
use rocketmart_contracts::topic::ORDERS;
use rocketmart_kit::config::{self, DatabaseConfig, KafkaConfig, ListenConfig};
use rocketmart_kit::kafka::Consumer;
use rocketmart_kit::outbox::{self, Readers};
use rocketmart_kit::pace::Pace;
use rocketmart_kit::service::Service;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

pub use booking::Worker;

use crate::standing::Standing;
use crate::store::books;
use crate::{GraceConfig, MIGRATOR, OrdinaryConfig, ReturnsConfig, StockConfig, readiness, vouch};

pub(crate) const COMPONENT: Component = Component::OrderWorker;
/// How many events one transaction handles.
const BATCH: usize = 500;
/// How long a batch may wait to fill up.
const LINGER: Duration = Duration::from_millis(20);
/// How long we keep the ids of received events: far longer than Kafka keeps the events.
const REMEMBER: time::Duration = time::Duration::days(30);
const FORGET_EVERY: Duration = Duration::from_hours(1);

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
    pub returns: ReturnsConfig,
    #[command(flatten)]
    pub ordinary: OrdinaryConfig,
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
    let readers = Readers::of(&args.kafka, ORDERS);
    let consumer = Consumer::new(&args.kafka, COMPONENT.as_str(), COMPONENT.consumes()).batch(BATCH, LINGER);
    let levels = levels::Levels::new(pool.clone(), &args.kafka)?;
    let standing = Standing::new(pool.clone(), stock.clone(), args.ordinary.ordinary_payment_seconds);
    let worker = Arc::new(Worker::new(pool.clone(), stock.clone(), args.grace.to_charge()));
    let (inbox, delivered, window) = (pool.clone(), pool.clone(), args.returns.window());
    let (payments, reservations, trusting) = (Arc::clone(&worker), Arc::clone(&worker), pool.clone());
    let service = Service::new(COMPONENT.as_str(), &args.listen);
    Ok(readiness::of_all_stores(service, &pool, &stock, &producer)
        .ready("events", consumer.gate())
        .task("events", move |stop| consumer.run(worker, stop))
        .task("parked", move |stop| resumed_payments::run(payments, stop))
        .task("waiting", move |stop| resumed_reservations::run(reservations, stop))
        .task("vouch", move |stop| vouch::keep(trusting, stock, stop))
        .task("completion", move |stop| completion::run(delivered, window, stop))
        .task("standing", move |stop| standing.run(stop))
        .task("stock-levels", move |stop| levels.run(stop))
        .task("inbox", move |stop| forget_loop(inbox, stop))
        .task("outbox", move |stop| outbox::publish_loop(pool, producer, readers, stop)))
}

/// Keeps the inbox from growing for ever.
async fn forget_loop(pool: PgPool, stop: CancellationToken) -> anyhow::Result<()> {
    let mut pace = Pace::every(FORGET_EVERY, "cannot forget old events");
    while pace.rest(books::forget_received(&pool, REMEMBER).await.map(drop), &stop).await {}
    Ok(())
}
