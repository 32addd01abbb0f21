//! `rocketmart-checker`: the books of one sale, compared; writes its findings as JSON.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Result;
use clap::Parser;
use rocketmart_checker::{books::Books, history, invariants, stores};
use serde_json::json;
use uuid::Uuid;

#[derive(Parser)]
#[command(about = "Compares what shoppers were told with Redis, Kafka, PostgreSQL and the payment provider")]
struct Args {
    /// The sale's id: the uid of its FlashSale
    #[arg(long)]
    sale: Uuid,
    /// What shoppers did and were told, one JSON object a line
    #[arg(long)]
    history: PathBuf,
    #[arg(long)]
    redis_url: String,
    #[arg(long)]
    kafka_brokers: String,
    #[arg(long, default_value = "")]
    topic_prefix: String,
    #[arg(long)]
    provider_url: String,
    #[arg(long, env, hide_env_values = true)]
    order_database_url: String,
    #[arg(long, env, hide_env_values = true)]
    payment_database_url: String,
    #[arg(long, env, hide_env_values = true)]
    delivery_database_url: String,
    #[arg(long)]
    out: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let history = history::read(&args.history)?;
    let mut books = Books::default();
    stores::redis::read(&args.redis_url, args.sale, &mut books).await?;
    stores::sql::read_orders(&args.order_database_url, args.sale, &mut books).await?;
    stores::sql::read_payments(&args.payment_database_url, &mut books).await?;
    stores::sql::read_shipments(&args.delivery_database_url, &mut books).await?;
    stores::provider::read(&args.provider_url, &mut books).await?;
    let books = tokio::task::spawn_blocking(move || {
        stores::kafka::read(&args.kafka_brokers, &args.topic_prefix, args.sale, &mut books).map(|()| books)
    })
    .await??;

    let verdicts = invariants::all(&history, &books);
    for (name, verdict) in &verdicts {
        println!("    {name}: {} differences ({})", verdict.difference, verdict.compared);
        for finding in &verdict.findings {
            println!("        {finding}");
        }
    }
    let report = json!({
        "orders": orders_by_outcome(&books),
        "oversold": invariants::oversold(&books),
        "lost_2xx": invariants::lost(&history, &books).len(),
        "paid_per_second": paid_in_the_busiest_second(&books),
        "shipments": count(books.shipments.values().cloned()),
        "invariants": verdicts,
    });
    std::fs::write(&args.out, serde_json::to_vec_pretty(&report)?)?;
    Ok(())
}

/// Orders by how they ended: everything from `paid` on counts as paid.
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
