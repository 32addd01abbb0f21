//! `delivery-worker`: from paid orders to delivered parcels.
//!
//! ```text
//! orders ──> [orders] ──> shipments ──> [steps] <──> carrier
//!                 │                        │
//!                 └────────> outbox <──────┘ ──> deliveries
//! ```
//! Any number of replicas work at once: shipments are claimed with `SKIP LOCKED`, and the outbox has one
//! publisher at a time.

mod orders;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use rocketmart_contracts::component::Component;
use rocketmart_kit::config::{self, DatabaseConfig, KafkaConfig, ListenConfig};
use rocketmart_kit::kafka::Consumer;
use rocketmart_kit::outbox::{self, Readers};
use rocketmart_kit::service::Service;

use crate::MIGRATIONS;
use crate::carrier::{Carrier, SimulatedCarrier};
use crate::events::DELIVERIES;

const COMPONENT: Component = Component::DeliveryWorker;
/// The most events in one batch, and how long a smaller batch waits for more.
const BATCH: usize = 500;
const BATCH_LINGER: Duration = Duration::from_millis(10);

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub listen: ListenConfig,
    #[command(flatten)]
    pub database: DatabaseConfig,
    #[command(flatten)]
    pub kafka: KafkaConfig,
    /// How long the simulated carrier takes for each step, in seconds.
    #[arg(long, env = "CARRIER_STEP_SECONDS", default_value_t = 5)]
    pub carrier_step_seconds: u32,
}

/// Runs until SIGTERM.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let listen = args.listen.clone();
    Service::start(&listen, service(args)).await
}

/// Puts the process together and brings its schema up to date.
pub async fn service(args: Args) -> anyhow::Result<Service> {
    let pool = args.database.connect().await?;
    config::migrate(&pool, &MIGRATIONS).await?;
    let step = Duration::from_secs(args.carrier_step_seconds.into());
    let carrier: Arc<dyn Carrier> = Arc::new(SimulatedCarrier::new(step));
    let producer = args.kafka.producer()?;
    let consumer =
        Consumer::new(&args.kafka, COMPONENT.as_str(), COMPONENT.consumes()).batch(BATCH, BATCH_LINGER);
    let gate = consumer.gate();
    let orders = orders::Orders::new(pool.clone(), carrier.first_look());
    let steps = steps::Steps::new(pool.clone(), carrier);

    let database = pool.clone();
    let broker = producer.clone();
    let readers = Readers::of(&args.kafka, DELIVERIES);
    Ok(Service::new(COMPONENT.as_str(), &args.listen)
        .ready("postgresql", move || {
            let database = database.clone();
            async move { Ok(sqlx::query("SELECT 1").execute(&database).await.map(drop)?) }
        })
        .ready("kafka", move || {
            let broker = broker.clone();
            async move { broker.ready().await }
        })
        .ready("orders", gate)
        .task("orders", move |stop| consumer.run(Arc::new(orders), stop))
        .task("steps", move |stop| steps.run(stop))
        .task("outbox", move |stop| outbox::publish_loop(pool, producer, readers, stop)))
}
