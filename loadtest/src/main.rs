//! `rocketmart-loadtest people` makes the people of a shop, `rocketmart-loadtest rush` lets them shop.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use rocketmart_loadtest::{
    client::Client,
    people::{Person, Product, Town},
    rush::{self, Plan},
    shopper::Habits,
    summary::summarize,
};
use time::format_description::well_known::Rfc3339;

#[derive(Parser)]
#[command(about = "Shoppers for Rocket Mart")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Signs people up, imports the many, publishes the product; writes them to --out.
    People(PeopleArgs),
    /// Lets the people of --people compete for a sale; writes history and summary.
    Rush(RushArgs),
}

#[derive(Args)]
struct Entrance {
    /// Address of the shop's entrance, e.g. <http://127.0.0.1>
    #[arg(long)]
    shop_url: String,
    /// Host name sent instead of the address
    #[arg(long)]
    host: Option<String>,
}

#[derive(Args)]
struct PeopleArgs {
    #[command(flatten)]
    entrance: Entrance,
    #[arg(long)]
    mail_url: String,
    #[arg(long, env = "ADMIN_EMAIL")]
    admin_email: String,
    #[arg(long, env = "ADMIN_PASSWORD", hide_env_values = true)]
    admin_password: String,
    #[arg(long, default_value_t = 24)]
    sign_ups: usize,
    #[arg(long, default_value_t = 5_000)]
    imports: usize,
    #[arg(long)]
    sku: String,
    #[arg(long, default_value_t = 19_900)]
    price: i64,
    #[arg(long, default_value = "KRW")]
    currency: String,
    #[arg(long, default_value_t = 1_000)]
    quantity: u32,
    #[arg(long)]
    out: PathBuf,
}

#[derive(Args)]
struct RushArgs {
    #[command(flatten)]
    entrance: Entrance,
    #[arg(long)]
    provider_url: String,
    #[arg(long)]
    sale: String,
    #[arg(long)]
    sku: String,
    #[arg(long)]
    people: PathBuf,
    /// RFC 3339
    #[arg(long)]
    opens_at: String,
    #[arg(long)]
    history: PathBuf,
    #[arg(long)]
    summary: PathBuf,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// No more purchases than this at the same time: the others wait in front of the shop
    #[arg(long, default_value_t = 64)]
    requests_at_once: usize,
    #[arg(long, default_value_t = 300)]
    limit_seconds: u64,
}

/// Most people click when the sale opens.
const ARRIVE_WITHIN: Duration = Duration::from_millis(1_500);

#[tokio::main]
async fn main() -> Result<()> {
    match Cli::parse().command {
        Command::People(args) => people(args).await,
        Command::Rush(args) => rush(args).await,
    }
}

async fn people(args: PeopleArgs) -> Result<()> {
    let town = Town {
        shop: Client::new(&args.entrance.shop_url, args.entrance.host.as_deref())?,
        mail: Client::new(&args.mail_url, None)?,
        run: format!("{:x}", time::OffsetDateTime::now_utc().unix_timestamp()),
    };
    let seller = town.sign_up("seller", "seller").await.context("the seller")?;
    let product = Product {
        sku: args.sku,
        title: "Rocket, limited edition".into(),
        price: args.price,
        currency: args.currency,
        quantity: args.quantity,
    };
    town.publish(&seller, &product).await?;
    println!("    the seller signed up and published {}", product.sku);
    let mut everybody = town.sign_up_buyers(args.sign_ups).await?;
    println!("    {} buyers signed up through the link in their mail", everybody.len());
    let administrator = town.administrator(&args.admin_email, &args.admin_password).await?;
    everybody.extend(town.import(&administrator, args.imports).await?);
    println!("    {} members in all", everybody.len());
    fs::write(&args.out, serde_json::to_vec(&everybody)?).with_context(|| args.out.display().to_string())
}

async fn rush(args: RushArgs) -> Result<()> {
    let people: Vec<Person> = serde_json::from_slice(&fs::read(&args.people)?)?;
    let plan = Plan {
        shop: Client::new(&args.entrance.shop_url, args.entrance.host.as_deref())?,
        provider: Client::new(&args.provider_url, None)?,
        sale: args.sale,
        sku: args.sku,
        habits: Habits::OF_THE_SEED,
        people,
        opens_at: time::OffsetDateTime::parse(&args.opens_at, &Rfc3339).context("--opens-at")?,
        arrive_within: ARRIVE_WITHIN,
        history: args.history,
        seed: args.seed,
        requests_at_once: args.requests_at_once,
        limit: Duration::from_secs(args.limit_seconds),
    };
    let outcome = rush::run(plan).await?;
    let summary = summarize(&outcome.records, &outcome.endings)?;
    fs::write(&args.summary, serde_json::to_vec_pretty(&summary)?)?;
    println!(
        "    {} requests, {} orders, {} refused, {} unknown",
        summary.attempts,
        summary.accepted,
        summary.rejected.values().sum::<usize>(),
        summary.unknown
    );
    Ok(())
}
