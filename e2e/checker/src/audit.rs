//! One audit: it reads the history and all stores and checks the seven invariants.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Result;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    books::Books,
    history::{self, Told},
    invariants::{self, Unknowns, Verdict},
    stores,
};

/// Where the history and the stores of one shop are.
#[derive(Debug, Clone)]
pub struct Sources {
    /// What shoppers did and were told, one JSON object a line.
    pub history: PathBuf,
    /// Kafka is read from this moment on (Unix milliseconds); nothing of the sale is older. 0 reads from the
    /// beginning.
    pub since_ms: i64,
    pub redis_url: String,
    pub kafka_brokers: String,
    pub topic_prefix: String,
    pub provider_url: String,
    pub order_database_url: String,
    pub payment_database_url: String,
    pub delivery_database_url: String,
    /// Somebody emptied Kafka on purpose: what is missing there is not a difference.
    pub kafka_was_emptied: bool,
}

/// What the audit compared and what it found.
#[derive(Debug, Clone, Serialize)]
pub struct Audit {
    /// How the orders ended: everything from `paid` on counts as paid.
    pub orders: BTreeMap<String, usize>,
    pub oversold: i64,
    /// Orders that a shopper got a 2xx for and that PostgreSQL does not know.
    pub lost_2xx: usize,
    /// The same, but within the time for which a rebuild said that Redis had lost its volume.
    pub gone_with_redis: usize,
    /// Orders that were paid for more than once at the provider, net of refunds.
    pub charged_twice: usize,
    pub paid_per_second: usize,
    pub shipments: BTreeMap<String, usize>,
    /// What became of purchases that never got an answer.
    pub unknown: Unknowns,
    pub invariants: BTreeMap<&'static str, Verdict>,
}

impl Audit {
    /// Findings of all invariants.
    pub fn differences(&self) -> usize {
        self.invariants.values().map(|verdict| verdict.difference).sum()
    }
}

/// Reads everything about a sale and compares it.
pub async fn audit(sources: &Sources, sale: Uuid) -> Result<Audit> {
    let history = history::read(&sources.history)?;
    let books = read(sources, sale).await?;
    Ok(compare(&history, &books))
}

async fn read(sources: &Sources, sale: Uuid) -> Result<Books> {
    let mut books = Books { kafka_was_emptied: sources.kafka_was_emptied, ..Books::default() };
    stores::redis::read(&sources.redis_url, sale, &mut books).await?;
    stores::sql::read_orders(&sources.order_database_url, sale, &mut books).await?;
    stores::sql::read_payments(&sources.payment_database_url, &mut books).await?;
    stores::sql::read_shipments(&sources.delivery_database_url, &mut books).await?;
    stores::provider::read(&sources.provider_url, &mut books).await?;
    let (brokers, prefix) = (sources.kafka_brokers.clone(), sources.topic_prefix.clone());
    let since_ms = sources.since_ms;
    tokio::task::spawn_blocking(move || {
        stores::kafka::read(&brokers, &prefix, sale, since_ms, &mut books).map(|()| books)
    })
    .await?
}

/// The pure part: compares what was read.
pub fn compare(history: &[Told], books: &Books) -> Audit {
    Audit {
        orders: orders_by_outcome(books),
        oversold: invariants::oversold(books),
        lost_2xx: invariants::lost(history, books).len(),
        gone_with_redis: invariants::gone(history, books).len(),
        charged_twice: invariants::charged_twice(books).len(),
        paid_per_second: paid_in_the_busiest_second(books),
        shipments: count(books.shipments.values().cloned()),
        unknown: invariants::unknowns(history, books),
        invariants: invariants::all(history, books),
    }
}

fn orders_by_outcome(books: &Books) -> BTreeMap<String, usize> {
    let outcomes = ["paid", "expired", "payment_failed", "cancelled"].map(|outcome| (outcome.to_owned(), 0));
    let mut counts = BTreeMap::from(outcomes);
    counts.extend(count(
        books
            .orders
            .values()
            .map(|order| if order.is_paid() { "paid".to_owned() } else { order.state.clone() }),
    ));
    counts
}

fn paid_in_the_busiest_second(books: &Books) -> usize {
    let seconds =
        books.orders.values().filter_map(|order| order.paid_at).map(|at| at.unix_timestamp().to_string());
    count(seconds).values().copied().max().unwrap_or_default()
}

fn count(words: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for word in words {
        *counts.entry(word).or_default() += 1;
    }
    counts
}
