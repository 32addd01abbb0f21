//! Tells the rest of the shop how many units of each SKU buyers can get: the compacted topic
//! `stock-levels`.
//!
//! About once a second we look through the books and report what has changed since the last report: one
//! level per SKU, however many orders there were in between. So this adds nothing to an order's path, and
//! the load does not grow with sales. The time to look grows with the number of SKUs; looking may take a
//! twentieth of all time and no more. We send levels first and note them afterwards. If we are cut short in
//! between, we send them again with a higher version.

use std::time::{Duration, Instant};

use rocketmart_contracts::topic::STOCK_LEVELS;
use rocketmart_kit::config::KafkaConfig;
use rocketmart_kit::event::Event;
use rocketmart_kit::kafka::{Producer, TopicMark};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::store::levels;

const SOURCE: &str = "/rocketmart/order-worker";
/// The consumer group whose commit marks the topic. A topic without the mark has lost what it held.
const MARK: &str = "stock-levels-told";
const PERIOD: Duration = Duration::from_secs(1);
const MARK_PERIOD: Duration = Duration::from_secs(10);
/// The share of all time that looking may take: one part in this many.
const SHARE: u32 = 20;
/// The pause after something went wrong.
const ERROR_PAUSE: Duration = Duration::from_secs(5);
/// How many levels to send at once.
const AT_ONCE: i64 = 1_000;

pub(super) struct Levels {
    pool: PgPool,
    producer: Producer,
    mark: TopicMark,
    marked_at: Option<Instant>,
    /// How long the last look through the books took.
    looked_for: Duration,
}

impl Levels {
    pub(super) fn new(pool: PgPool, kafka: &KafkaConfig) -> anyhow::Result<Self> {
        // A producer of its own: trouble with this topic must not disturb the outbox.
        let producer = kafka.producer()?;
        Ok(Self {
            pool,
            producer,
            mark: TopicMark::new(kafka, MARK, STOCK_LEVELS)?,
            marked_at: None,
            looked_for: Duration::ZERO,
        })
    }

    /// Reports until `stop`. Of all processes that run this, one works at a time.
    pub(super) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        while !stop.is_cancelled() {
            let pause = match stop.run_until_cancelled(self.look()).await {
                None => break,
                Some(Ok(true)) => self.looked_for * SHARE,
                Some(Ok(false)) => PERIOD.max(self.looked_for * SHARE),
                Some(Err(error)) => {
                    tracing::warn!(error = format!("{error:#}"), "cannot tell how much is in stock");
                    ERROR_PAUSE
                }
            };
            stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
        Ok(())
    }

    /// Returns whether there may be more to report at once.
    async fn look(&mut self) -> anyhow::Result<bool> {
        let mut tx = self.pool.begin().await?;
        if !levels::try_lock(&mut tx).await? {
            return Ok(false);
        }
        if self.marked_at.is_none_or(|at| at.elapsed() >= MARK_PERIOD) {
            if self.mark.is_missing().await? {
                levels::forget(&mut tx).await?;
                self.mark.set().await?;
            }
            self.marked_at = Some(Instant::now());
        }
        let begun = Instant::now();
        let changed = levels::changed(&mut tx, AT_ONCE).await?;
        self.looked_for = begun.elapsed();
        if changed.is_empty() {
            tx.commit().await?;
            return Ok(false);
        }
        let events: Vec<Event> = changed.iter().map(|level| Event::of(SOURCE, &level.sku, level)).collect();
        self.producer.send_all(STOCK_LEVELS, &events).await?;
        levels::note(&mut tx, &changed).await?;
        tx.commit().await?;
        metrics::counter!("order_stock_levels_told_total").increment(changed.len() as u64);
        Ok(i64::try_from(changed.len()) == Ok(AT_ONCE))
    }
}
