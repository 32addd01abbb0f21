//! The consumer of a component's group.
//!
//! One loop: collect a batch, have it handled, commit, repeat. We commit offsets only after the handler has
//! returned, synchronously, and before we read anything else. So a crash repeats work and never loses it.
//!
//! Rebalances reach us only while we poll. We poll while collecting and while waiting to retry, and after
//! each poll we forget what belongs to revoked partitions: their new owner starts at the committed offset and
//! reads it again. While a handler runs we do not poll, so its partitions stay ours.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use backon::{BackoffBuilder, ExponentialBuilder};
use futures::FutureExt as _;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, Progress};
use super::context::Context;
use super::dead_letter::DeadLetters;
use super::handler::{HandleError, Handler};
use super::recreated::Recreated;
use crate::config::KafkaConfig;
use crate::failpoint;

/// How long to wait for a first message before turning to uncommitted offsets.
const IDLE: Duration = Duration::from_secs(1);
/// Pause after an error of the client, which might otherwise repeat without one.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// First and longest pause before we retry a batch.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Reads topics as a member of a component's group.
pub struct Consumer {
    config: KafkaConfig,
    component: String,
    topics: Vec<String>,
    max: usize,
    linger: Duration,
    context: Context,
}

impl Consumer {
    /// A consumer of `topics` (without the prefix) in the group of `component`.
    pub fn new(config: &KafkaConfig, component: &str, topics: &[&str]) -> Self {
        Self {
            config: config.clone(),
            component: component.to_owned(),
            topics: topics.iter().map(|topic| config.topic(topic)).collect(),
            max: 500,
            linger: Duration::from_millis(20),
            context: Context::default(),
        }
    }

    /// Hands over up to `max` events at once, and waits at most `linger` after the first.
    pub fn batch(mut self, max: usize, linger: Duration) -> Self {
        self.max = max.max(1);
        self.linger = linger;
        self
    }

    /// A check for [`crate::service::Service::ready`]: we are a member of the group, and brokers answer.
    pub fn gate(&self) -> impl Fn() -> Ready<anyhow::Result<()>> + Clone + Send + Sync + use<> {
        let context = self.context.clone();
        move || ready(context.ready())
    }

    /// Consumes until `stop`, through broker failures. Only a wrong configuration is an error.
    pub async fn run(self, handler: Arc<dyn Handler>, stop: CancellationToken) -> anyhow::Result<()> {
        while !stop.is_cancelled() {
            let mut session = Session {
                consumer: Arc::new(self.connect()?),
                dead_letters: DeadLetters::new(&self.config, &self.component, &self.topics),
                settings: &self,
                carried: Batch::default(),
                handled: Progress::default(),
                stop: stop.clone(),
            };
            let outcome = session.run(&*handler).await;
            // Leaving the group blocks for a moment.
            let consumer = session.consumer;
            tokio::task::spawn_blocking(move || drop(consumer)).await?;
            outcome?;
        }
        Ok(())
    }

    fn connect(&self) -> anyhow::Result<StreamConsumer<Context>> {
        let mut settings = self.config.client(&self.component);
        Recreated::listen(&mut settings);
        let consumer: StreamConsumer<Context> = settings
            .set("group.id", self.config.group(&self.component))
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("session.timeout.ms", "10000")
            .set("socket.timeout.ms", "10000")
            .set("max.poll.interval.ms", "120000")
            .set("reconnect.backoff.max.ms", "2000")
            .set("topic.metadata.refresh.interval.ms", "10000")
            // Read ahead, but within bounds: per partition, whichever limit comes first.
            .set("queued.min.messages", "2000")
            .set("queued.max.messages.kbytes", "4096")
            .set("fetch.wait.max.ms", "100")
            .set("statistics.interval.ms", "2000")
            .create_with_context(self.context.clone())
            .context("cannot create a Kafka consumer")?;
        let topics: Vec<_> = self.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).context("cannot subscribe")?;
        Ok(consumer)
    }
}

/// A running consumer, for as long as its topics stay the same.
struct Session<'a> {
    consumer: Arc<StreamConsumer<Context>>,
    dead_letters: DeadLetters,
    settings: &'a Consumer,
    /// Read while waiting to retry an earlier batch.
    carried: Batch,
    /// Handled but not yet committed.
    handled: Progress,
    stop: CancellationToken,
}

impl Session<'_> {
    /// Returns when stopped, or when a topic was recreated and everything from the old one is handled.
    async fn run(&mut self, handler: &dyn Handler) -> anyhow::Result<()> {
        while !self.stop.is_cancelled() {
            let batch = self.collect().await?;
            if !batch.is_empty() {
                if failpoint::has_bug(failpoint::OFFSETS_FIRST) {
                    self.handled.merge(batch.progress.clone());
                    self.commit().await?;
                }
                failpoint::reach(failpoint::BEFORE_HANDLING);
                self.handle(batch, handler).await?;
                failpoint::reach(failpoint::BEFORE_OFFSET_COMMIT);
            }
            if !self.settings.context.recreated().any() {
                self.commit().await?;
            } else if self.carried.is_empty() {
                return self.back_to_the_beginning().await;
            }
        }
        Ok(())
    }

    /// Commits "nothing read yet" for recreated topics: the committed offset may be a position in the old
    /// topic.
    async fn back_to_the_beginning(&mut self) -> anyhow::Result<()> {
        let recreated = self.settings.context.recreated().take();
        let mut beginning = TopicPartitionList::new();
        for partition in self.consumer.assignment()?.elements() {
            if recreated.contains(partition.topic()) {
                let (topic, partition) = (partition.topic(), partition.partition());
                beginning.add_partition_offset(topic, partition, Offset::Offset(0))?;
            }
        }
        if beginning.count() > 0
            && let Err(error) = self.commit_offsets(beginning).await?
        {
            // Brokers that have lost everything know neither this member nor any offset of its group.
            tracing::warn!(%error, "the group was not moved to the beginning");
        }
        Ok(())
    }

    async fn collect(&mut self) -> anyhow::Result<Batch> {
        let mut batch = std::mem::take(&mut self.carried);
        let mut deadline = Instant::now() + if batch.is_empty() { IDLE } else { self.settings.linger };
        while batch.len() < self.settings.max {
            let consumer = Arc::clone(&self.consumer);
            // A message that has already arrived needs no timer; under load that is nearly all of them.
            let polled = if let Some(message) = consumer.recv().now_or_never() {
                Ok(message)
            } else {
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => break,
                    polled = timeout_at(deadline, consumer.recv()) => polled,
                }
            };
            self.forget_revoked(&mut batch);
            if self.settings.context.recreated().any() {
                break;
            }
            match polled {
                Err(_elapsed) => break,
                Ok(message) => {
                    if let Some(message) = usable(message).await? {
                        if batch.is_empty() {
                            deadline = Instant::now() + self.settings.linger;
                        }
                        batch.push(&self.settings.config, &message);
                    }
                }
            }
        }
        Ok(batch)
    }

    /// Returns once the batch is handled, or when the process stops and leaves the batch for later.
    async fn handle(&mut self, mut batch: Batch, handler: &dyn Handler) -> anyhow::Result<()> {
        let component = self.settings.component.clone();
        let mut pauses = retry_pauses();
        loop {
            let failed = match self.attempt(&mut batch, handler).await {
                Ok(()) => {
                    self.handled.merge(batch.progress);
                    return Ok(());
                }
                Err(error) => error,
            };
            metrics::counter!("kafka_retries_total", "component" => component.clone()).increment(1);
            let pause = pauses.next().unwrap_or(RETRY_PAUSE.1);
            tracing::warn!(
                error = format!("{failed:#}"),
                pause_ms = pause.as_millis(),
                events = batch.deliveries.len(),
                "batch not handled, trying again"
            );
            self.rest(pause, &mut batch).await?;
            if self.stop.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// One attempt at a batch. Poison leaves the batch, and the rest is handled again at once.
    async fn attempt(&self, batch: &mut Batch, handler: &dyn Handler) -> anyhow::Result<()> {
        loop {
            while let Some(letter) = batch.unreadable.last() {
                self.dead_letters.park(letter).await?;
                batch.unreadable.pop();
            }
            if batch.deliveries.is_empty() {
                return Ok(());
            }
            let started = Instant::now();
            let outcome = handler.handle(&batch.deliveries).await;
            self.measure(batch.deliveries.len(), started, outcome.is_ok());
            match outcome {
                Ok(()) => return Ok(()),
                Err(HandleError::Retry(error)) => return Err(error),
                Err(HandleError::Poison { index, error }) => {
                    let size = batch.deliveries.len();
                    anyhow::ensure!(index < size, "the handler blames event {index} of {size}: {error:#}");
                    let letter = batch.take_out(&self.settings.config, index, &error)?;
                    batch.unreadable.push(letter);
                }
            }
        }
    }

    fn measure(&self, size: usize, started: Instant, ok: bool) {
        let component = &self.settings.component;
        #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
        metrics::histogram!("kafka_batch_size", "component" => component.clone()).record(size as f64);
        metrics::histogram!("kafka_handle_seconds", "component" => component.clone())
            .record(started.elapsed());
        let outcome = if ok { "kafka_handled_total" } else { "kafka_handle_errors_total" };
        metrics::counter!(outcome, "component" => component.clone()).increment(if ok {
            size as u64
        } else {
            1
        });
    }

    /// Waits without reading on. It still polls, so that the group keeps us and may revoke partitions.
    async fn rest(&mut self, pause: Duration, batch: &mut Batch) -> anyhow::Result<()> {
        let deadline = Instant::now() + pause;
        let mut paused = self.consumer.assignment()?;
        self.consumer.pause(&paused)?;
        loop {
            let consumer = Arc::clone(&self.consumer);
            let polled = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                polled = timeout_at(deadline, consumer.recv()) => polled,
            };
            self.forget_revoked(batch);
            let Ok(message) = polled else { break };
            if self.settings.context.recreated().any() {
                continue;
            }
            if let Some(message) = usable(message).await? {
                // From a partition that was assigned to us just now.
                self.carried.push(&self.settings.config, &message);
                paused = self.consumer.assignment()?;
                self.consumer.pause(&paused)?;
            }
        }
        self.consumer.resume(&paused)?;
        Ok(())
    }

    fn forget_revoked(&mut self, batch: &mut Batch) {
        let revoked = self.settings.context.take_revoked();
        if !revoked.is_empty() {
            batch.forget(&self.settings.config, &revoked);
            self.carried.forget(&self.settings.config, &revoked);
            self.handled.forget(&revoked);
        }
    }

    /// Commits what is handled. After a failure we try again behind the next batch, or when idle.
    async fn commit(&mut self) -> anyhow::Result<()> {
        if self.handled.is_empty() {
            return Ok(());
        }
        match self.commit_offsets(self.handled.to_list()?).await? {
            Ok(()) => self.handled = Progress::default(),
            Err(error) => {
                metrics::counter!("kafka_commit_errors_total", "component" => self.settings.component.clone())
                    .increment(1);
                tracing::warn!(%error, "offsets not committed, trying again");
            }
        }
        Ok(())
    }

    async fn commit_offsets(&self, offsets: TopicPartitionList) -> anyhow::Result<KafkaResult<()>> {
        let consumer = Arc::clone(&self.consumer);
        Ok(tokio::task::spawn_blocking(move || consumer.commit(&offsets, CommitMode::Sync)).await?)
    }
}

fn retry_pauses() -> impl Iterator<Item = Duration> {
    let (first, longest) = RETRY_PAUSE;
    ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(longest)
        .with_jitter()
        .without_max_times()
        .build()
}

/// The message, or nothing after an error that librdkafka recovers from by itself.
pub(super) async fn usable(
    polled: Result<BorrowedMessage<'_>, KafkaError>,
) -> anyhow::Result<Option<BorrowedMessage<'_>>> {
    match polled {
        Ok(message) => Ok(Some(message)),
        Err(error @ KafkaError::MessageConsumptionFatal(_)) => {
            Err(anyhow::Error::new(error).context("the Kafka consumer cannot go on"))
        }
        Err(error) => {
            metrics::counter!("kafka_client_errors_total").increment(1);
            tracing::warn!(%error, "Kafka consumer");
            tokio::time::sleep(ERROR_PAUSE).await;
            Ok(None)
        }
    }
}
