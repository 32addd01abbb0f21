//! `payment-worker`: from an order that wants to be paid to money that moved, or surely did not.
//!
//! ```text
//! orders ──> [orders] ──> payments, refunds ──> [charging], [refunding] ──> provider
//!                              ^                        │ results, in batches
//!                              └────────────────────────┴──> outbox ──> payments
//! ```
//! Any number of replicas work at once: rows are claimed with `SKIP LOCKED` under a lease. An advisory lock
//! gives the outbox and the daily [`reconciliation`] one worker at a time.

mod charging;
mod orders;
mod pipeline;
mod reconciliation;
mod refunding;

use std::sync::Arc;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use rocketmart_contracts::component::Component;
use rocketmart_kit::config::{self, DatabaseConfig, KafkaConfig, ListenConfig};
use rocketmart_kit::kafka::Consumer;
use rocketmart_kit::outbox::{self, Readers};
use rocketmart_kit::service::Service;
use tokio::sync::Notify;
use url::Url;

use crate::MIGRATIONS;
use crate::domain::payment::Capture;
use crate::events::PAYMENTS;
use crate::provider::{HttpProvider, PaymentProvider};

const COMPONENT: Component = Component::PaymentWorker;
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
    #[command(flatten)]
    pub provider: ProviderArgs,
    #[command(flatten)]
    pub reconciliation: ReconciliationArgs,
}

/// How the provider is called.
#[derive(Clone, Debug, clap::Args)]
pub struct ProviderArgs {
    /// The provider's address, without `/v1`.
    #[arg(long, env = "PAYMENT_PROVIDER_URL")]
    pub payment_provider_url: Url,
    /// How long one call may take, in milliseconds; then its outcome is unknown.
    #[arg(long, env = "PAYMENT_PROVIDER_TIMEOUT_MS", default_value_t = 5_000,
          value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub payment_provider_timeout_ms: u64,
    /// How many calls of this process may be on their way at once.
    #[arg(long, env = "PAYMENT_PROVIDER_CONCURRENCY", default_value_t = 128,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub payment_provider_concurrency: u16,
    /// `manual`: set the money aside, then take it, so that an order released in between costs no refund.
    /// `automatic`: in one call, where throughput matters more.
    #[arg(long, env = "PAYMENT_CAPTURE", default_value = "manual",
          value_parser = PossibleValuesParser::new(["manual", "automatic"])
              .try_map(|name| Capture::parse(&name).ok_or("is no way to capture")))]
    pub payment_capture: Capture,
}

/// When the provider's list is compared with ours.
#[derive(Clone, Debug, clap::Args)]
pub struct ReconciliationArgs {
    /// Seconds between two reconciliations.
    #[arg(long, env = "RECONCILIATION_SECONDS", default_value_t = 86_400,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub reconciliation_seconds: u32,
    /// Charges younger than this are left to the next one, in seconds: their results may still be
    /// on the way.
    #[arg(long, env = "RECONCILIATION_SETTLING_SECONDS", default_value_t = 600)]
    pub reconciliation_settling_seconds: u32,
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
    let timeout = Duration::from_millis(args.provider.payment_provider_timeout_ms);
    let concurrency = usize::from(args.provider.payment_provider_concurrency);
    let provider: Arc<dyn PaymentProvider> =
        Arc::new(HttpProvider::new(&args.provider.payment_provider_url, timeout)?);
    let producer = args.kafka.producer()?;
    let consumer =
        Consumer::new(&args.kafka, COMPONENT.as_str(), COMPONENT.consumes()).batch(BATCH, BATCH_LINGER);
    let gate = consumer.gate();

    let charges_due = Arc::new(Notify::new());
    let refunds_due = Arc::new(Notify::new());
    let orders = orders::Orders::new(pool.clone(), charges_due.clone(), refunds_due.clone());
    let charging = Arc::new(charging::Charging::new(
        pool.clone(),
        provider.clone(),
        args.provider.payment_capture,
        timeout,
    ));
    let refunding = Arc::new(refunding::Refunding::new(pool.clone(), provider.clone(), timeout));
    let reconciliation = reconciliation::Reconciliation::new(pool.clone(), provider, &args.reconciliation);

    let database = pool.clone();
    let broker = producer.clone();
    let readers = Readers::of(&args.kafka, PAYMENTS);
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
        .task("charging", move |stop| pipeline::run(charging, concurrency, charges_due, stop))
        .task("refunding", move |stop| pipeline::run(refunding, concurrency, refunds_due, stop))
        .task("reconciliation", move |stop| reconciliation.run(stop))
        .task("outbox", move |stop| outbox::publish_loop(pool, producer, readers, stop)))
}
