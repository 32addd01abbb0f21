//! The process `rocketmart catalog`: the API, and beside it the publisher of changes.

use std::sync::Arc;

use rocketmart_contracts::component::Component;
use rocketmart_kit::auth::Verifier;
use rocketmart_kit::config::{self, AuthConfig, KafkaConfig, ListenConfig};
use rocketmart_kit::kafka;
use rocketmart_kit::outbox::{self, Readers};
use rocketmart_kit::request_limits::RequestLimitArgs;
use rocketmart_kit::service::Service;
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;

use crate::availability::Availability;
use crate::events;
use crate::http::{self, Catalog};
use crate::retelling;
use crate::store::cassandra::CassandraStore;
use crate::store::{MIGRATOR, PostgresStore, ProductStore, StoreConfig, StoreKind};

const COMPONENT: &str = Component::Catalog.as_str();

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub listen: ListenConfig,
    #[command(flatten)]
    pub store: StoreConfig,
    #[command(flatten)]
    pub kafka: KafkaConfig,
    #[command(flatten)]
    pub auth: AuthConfig,
    #[command(flatten)]
    pub limits: RequestLimitArgs,
}

/// Serves the catalog until told to stop.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let verifier = Verifier::from_jwks_url(&args.auth)?;
    Service::start(&args.listen, service(&args, verifier)).await
}

/// The catalog, ready to run, with its schema up to date.
///
/// It is ready even without signing keys: the shop window needs none.
pub async fn service(args: &Args, verifier: Verifier) -> anyhow::Result<Service> {
    let service = Service::new(COMPONENT, &args.listen).request_limits(&args.limits);
    let refresher = verifier.clone();
    let service = match args.store.catalog_store {
        StoreKind::Postgres => on_postgres(service, args, verifier).await?,
        StoreKind::Cassandra => on_cassandra(service, args, verifier).await?,
    };
    Ok(service.task("signing-keys", move |stop| refresher.refresh_loop(stop)))
}

async fn on_postgres(service: Service, args: &Args, verifier: Verifier) -> anyhow::Result<Service> {
    let pool = args.store.database()?.connect().await?;
    config::migrate(&pool, &MIGRATOR).await?;
    let producer = args.kafka.producer()?;
    let readers = Readers::of(&args.kafka, events::PRODUCTS);
    let store = Arc::new(PostgresStore::new(pool.clone()));
    let database = pool.clone();
    Ok(common(service, args, store, verifier)?
        .ready("postgresql", move || {
            let database = database.clone();
            async move {
                sqlx::query("SELECT 1").execute(&database).await?;
                Ok(())
            }
        })
        .task("outbox", move |stop| outbox::publish_loop(pool, producer, readers, stop)))
}

async fn on_cassandra(service: Service, args: &Args, verifier: Verifier) -> anyhow::Result<Service> {
    let store =
        Arc::new(CassandraStore::new(args.store.cassandra.connect(args.store.shop_id.as_deref()).await?));
    let (asked, publisher, kafka) = (Arc::clone(&store), Arc::clone(&store), args.kafka.clone());
    Ok(common(service, args, store, verifier)?
        .ready("cassandra", move || {
            let asked = Arc::clone(&asked);
            async move { asked.ready().await }
        })
        .task("publisher", move |stop| publisher.publish_loop(kafka, stop)))
}

/// The part that does not depend on the store.
fn common(
    service: Service,
    args: &Args,
    store: Arc<dyn ProductStore>,
    verifier: Verifier,
) -> anyhow::Result<Service> {
    let (told, kafka, broker) = (Arc::clone(&store), args.kafka.clone(), args.kafka.producer()?);
    let (levels, availability) = (args.kafka.clone(), Arc::new(Availability::default()));
    let shown = Arc::clone(&availability);
    let service = service
        .api(described().with_state(Catalog { store, availability: shown, verifier }))
        // Changes are published once it is back.
        .degrades("kafka", move || {
            let broker = broker.clone();
            async move { broker.ready().await }
        })
        .task("stock-levels", move |stop| async move {
            kafka::read_all_then_follow(&levels, COMPONENT, events::STOCK_LEVELS, availability, || (), stop)
                .await
        })
        .task("retelling", move |stop| retelling::retell_loop(told, kafka, stop));
    Ok(service)
}

/// The description of the API.
pub fn openapi() -> OpenApi {
    described().into_openapi()
}

fn described() -> OpenApiRouter<Catalog> {
    let info = InfoBuilder::new()
        .title("Rocket Mart catalog")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Products, likes and wishlists"));
    OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info).build()).merge(http::routes())
}
