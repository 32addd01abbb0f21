//! `rocketmart-checker` compares the books of one sale and writes its findings as JSON.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use rocketmart_checker::audit::{self, Sources};
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
    /// Nothing of the sale is older (Unix milliseconds): Kafka is read from there
    #[arg(long, default_value_t = 0)]
    since_ms: i64,
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
    let sources = Sources {
        history: args.history,
        since_ms: args.since_ms,
        redis_url: args.redis_url,
        kafka_brokers: args.kafka_brokers,
        topic_prefix: args.topic_prefix,
        provider_url: args.provider_url,
        order_database_url: args.order_database_url,
        payment_database_url: args.payment_database_url,
        delivery_database_url: args.delivery_database_url,
        kafka_was_emptied: false,
    };
    let found = audit::audit(&sources, args.sale).await?;
    for (name, verdict) in &found.invariants {
        println!("    {name}: {} differences ({})", verdict.difference, verdict.compared);
        for finding in &verdict.findings {
            println!("        {finding}");
        }
    }
    std::fs::write(&args.out, serde_json::to_vec_pretty(&found)?)?;
    Ok(())
}
