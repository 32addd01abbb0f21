//! The process `rocketmart search`: the API over an index that follows the topic.

use std::sync::Arc;

use rocketmart_contracts::component::Component;
use rocketmart_contracts::topic::{PRODUCTS, STOCK_LEVELS};
use rocketmart_kit::config::{KafkaConfig, ListenConfig};
use rocketmart_kit::kafka;
use rocketmart_kit::request_limits::RequestLimitArgs;
use rocketmart_kit::service::Service;
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;

use crate::admission::{Admission, AdmissionArgs};
use crate::feed::Feed;
use crate::http::{self, Search};
use crate::index::ProductIndex;
use crate::stock::{Levels, Stock};

const COMPONENT: &str = Component::Search.as_str();

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub listen: ListenConfig,
    #[command(flatten)]
    pub kafka: KafkaConfig,
    #[command(flatten)]
    pub limits: RequestLimitArgs,
    #[command(flatten)]
    pub admission: AdmissionArgs,
}

/// Serves searches until told to stop.
pub async fn run(args: Args) -> anyhow::Result<()> {
    Service::start(&args.listen, async { service(&args) }).await
}

/// Search as a service; it is ready once its index is complete.
pub fn service(args: &Args) -> anyhow::Result<Service> {
    let index = Arc::new(ProductIndex::in_memory()?);
    let stock = Arc::new(Stock::new(Arc::clone(&index)));
    let shelves = Arc::new(Levels(Arc::clone(&stock)));
    let feed = Arc::new(Feed::new(Arc::clone(&index), stock));
    let admission = Arc::new(Admission::new(args.admission));
    let search = Search { index, feed: Arc::clone(&feed), admission };

    let gate = Arc::clone(&feed);
    let (kafka, levels, broker) = (args.kafka.clone(), args.kafka.clone(), args.kafka.producer()?);
    Ok(Service::new(COMPONENT, &args.listen)
        .request_limits(&args.limits)
        .api(described().with_state(search))
        .ready("index", move || {
            let is_caught_up = gate.is_caught_up();
            async move {
                anyhow::ensure!(is_caught_up, "the index is still being built from the topic {PRODUCTS}");
                Ok(())
            }
        })
        // What was indexed can still be found.
        .degrades("kafka", move || {
            let broker = broker.clone();
            async move { broker.ready().await }
        })
        .task("stock-levels", move |stop| async move {
            kafka::read_all_then_follow(&levels, COMPONENT, STOCK_LEVELS, shelves, || (), stop).await
        })
        .task("feed", move |stop| async move {
            let tell = Arc::clone(&feed);
            kafka::read_all_then_follow(&kafka, COMPONENT, PRODUCTS, feed, move || tell.catch_up(), stop)
                .await
        }))
}

/// The description of the API.
pub fn openapi() -> OpenApi {
    described().into_openapi()
}

fn described() -> OpenApiRouter<Search> {
    let info = InfoBuilder::new()
        .title("Rocket Mart search")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Finds published products"));
    OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info).build()).merge(http::routes())
}
