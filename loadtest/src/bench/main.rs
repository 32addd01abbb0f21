//! `rocketmart-bench`: how fast the shop is, measured on the real thing; run by `cargo xtask bench`.
//!
//! ```text
//!   scenarios/  what is measured       shop.rs      the system: processes, sales, buyers, the audit
//!   figures.rs  medians and limits     noop.rs, naive.rs, straight.rs   what it is compared with
//!   report/     JSON, page, document   meter.rs     processor and memory of each process
//! ```
//! Nothing is switched off for a figure: durability, limits and checks are as deployed. The books are audited
//! after every run. If they are wrong, the run has no figures and the command fails.

mod figures;
mod ingress;
mod meter;
mod naive;
mod noop;
mod report;
mod scenarios;
mod shop;
mod shoppers;
mod straight;
mod tokens;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use rocketmart_kit::config::AuthConfig;
use scenarios::{Bench, Lengths, NAMES};
use shop::Programs;
use url::Url;

#[derive(Parser)]
#[command(about = "Benchmarks of Rocket Mart")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures scenarios, all of them unless some are named.
    Run(RunArgs),
    /// The handler that does nothing: the limit for everything over HTTP.
    ServeNoop(ServeArgs),
    /// The purchase as most shops do it.
    ServeNaive(NaiveArgs),
}

#[derive(Args)]
struct RunArgs {
    names: Vec<String>,
    /// The release build of `rocketmart`.
    #[arg(long)]
    rocketmart: PathBuf,
    /// The release build of `rocketmart-checker`.
    #[arg(long)]
    checker: PathBuf,
    /// The release build of `rocketmart-operator`, for the scenario `operator`.
    #[arg(long)]
    operator: Option<PathBuf>,
    /// Where figures and page go.
    #[arg(long)]
    out: PathBuf,
    /// The document to write; none for a try.
    #[arg(long)]
    document: Option<PathBuf>,
    /// Short runs that show that everything works, and measure nothing.
    #[arg(long)]
    quick: bool,
}

#[derive(Args)]
struct ServeArgs {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    jwks_url: Url,
}

#[derive(Args)]
struct NaiveArgs {
    #[command(flatten)]
    serve: ServeArgs,
    #[arg(long)]
    database: String,
    #[arg(long)]
    redis: String,
}

impl ServeArgs {
    fn auth(&self) -> AuthConfig {
        AuthConfig {
            auth_issuer: "rocketmart".to_owned(),
            auth_audience: "rocketmart".to_owned(),
            auth_jwks_url: Some(self.jwks_url.clone()),
            auth_revocations_url: None,
        }
    }
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Run(args) => measure(&args),
        Command::ServeNoop(args) => {
            tokio::runtime::Runtime::new()?.block_on(noop::serve(args.listen, &args.auth()))
        }
        Command::ServeNaive(args) => {
            let auth = args.serve.auth();
            let serving = naive::serve(args.serve.listen, &auth, &args.database, &args.redis);
            tokio::runtime::Runtime::new()?.block_on(serving)
        }
    }
}

fn measure(args: &RunArgs) -> Result<()> {
    let unknown: Vec<_> = args.names.iter().filter(|name| !NAMES.contains(&name.as_str())).collect();
    ensure!(unknown.is_empty(), "no scenario {unknown:?}; there are {}", NAMES.join(", "));
    let chosen = |name: &&&str| args.names.is_empty() || args.names.iter().any(|wanted| wanted == **name);
    let programs = Programs {
        rocketmart: args.rocketmart.clone(),
        checker: args.checker.clone(),
        operator: args.operator.clone(),
    };
    let lengths = if args.quick { Lengths::quick() } else { Lengths::full() };
    let mut bench = Bench::new(programs, lengths);
    let mut failed = Vec::new();
    for name in NAMES.iter().filter(chosen) {
        println!("\n{name}");
        match bench.measure(name) {
            Ok(measured) => report::write(&args.out, &measured)?,
            Err(error) => {
                println!("    no figures: {error:#}");
                report::forget(&args.out, name)?;
                failed.push(*name);
            }
        }
    }
    let command = [&["cargo xtask bench".to_owned()], args.names.as_slice()].concat().join(" ");
    let machine = report::Machine::look(command);
    let all = report::read(&args.out, &NAMES)?;
    let whole = args.names.is_empty() && failed.is_empty();
    report::publish(&args.out, args.document.as_deref(), &machine, &all, whole)?;
    println!("\nfigures and page: {}", args.out.join("index.html").display());
    if failed.is_empty() { Ok(()) } else { bail!("no figures for {}", failed.join(", ")) }
}
