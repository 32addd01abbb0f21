//! Keeps the topic `products` complete.
//!
//! Others build their view of the catalog from that topic alone, from its beginning. It is compacted, so it
//! has every product, until its log is lost. The outbox keeps events that nobody has read yet; but a product
//! that has not changed for a year is in no outbox. A topic without our mark is a new one, so we publish
//! everything to it.
//!
//! Two replicas may notice at once, and brokers forget a mark after a week. Both times we publish what is
//! known already, and receivers recognize it by its version.

use std::sync::Arc;
use std::time::Duration;

use rocketmart_kit::config::KafkaConfig;
use rocketmart_kit::kafka::TopicMark;
use rocketmart_kit::pace::Pace;
use tokio_util::sync::CancellationToken;

use crate::events;
use crate::store::ProductStore;

/// The name of the mark, as of a consumer group.
const MARK: &str = "catalog-told";
const INTERVAL: Duration = Duration::from_secs(10);

/// Looks for the mark until `stop`. It logs failures of Kafka and of the store, and outlasts them.
pub(crate) async fn retell_loop(
    store: Arc<dyn ProductStore>,
    kafka: KafkaConfig,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mark = TopicMark::new(&kafka, MARK, events::PRODUCTS)?;
    let mut pace = Pace::every(INTERVAL, "cannot tell whether the topic has all products");
    while let Some(looked) = stop.run_until_cancelled(retell_if_new(&*store, &mark)).await
        && pace.rest(looked, &stop).await
    {}
    Ok(())
}

/// We set the mark once the store holds all the events. If we die before that, we publish all of them again.
async fn retell_if_new(store: &dyn ProductStore, mark: &TopicMark) -> anyhow::Result<()> {
    if mark.is_missing().await? {
        let products = store.tell_all().await?;
        mark.set().await?;
        tracing::info!(products, "the topic is new: all products were told");
    }
    Ok(())
}
