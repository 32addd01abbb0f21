//! Three load generators send the same requests to the same server, one after another, and print what a
//! request cost them in processor time.
//!
//! ```text
//!   generators ──starts──▶ generators serve            axum, answers a purchase
//!             └──starts──▶ generators ask bytes|hyper|goose    one at a time, in rounds
//! ```
//! Each has as many shoppers as connections. It asks again as soon as it is answered, sends what a buyer sends
//! (a token, a fresh idempotency key, a body) and reads the order's id from the answer. Each generator reads
//! its own processor time at its end, so starting and summing up count too.

mod bytes;
mod server;
mod with_goose;
mod with_hyper;

#[path = "../../src/generator/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the benchmarks read more of an outcome than is compared here")]
mod generator;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use cpu_time::ProcessTime;
use serde::{Deserialize, Serialize};

use generator::{Load, Pace, Shopper, run};

/// The services run with this allocator, and so does everything compared here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PATH: &str = "/api/v1/sales/01890000-0000-7000-8000-000000000001/purchases";
const BODY: &str = r#"{"sku":"ROCKET","quantity":1}"#;

/// A token as long as a buyer's.
fn token() -> String {
    "t".repeat(420)
}

#[derive(Parser)]
enum Task {
    /// Compares all generators and prints a table.
    Compare {
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        #[arg(long, default_value_t = 8)]
        seconds: u64,
        #[arg(long, default_value_t = 64)]
        connections: usize,
    },
    /// Answers purchases until it is ended.
    Serve { listen: SocketAddr },
    /// Asks with one generator and prints what it cost as JSON.
    Ask { how: Generator, address: SocketAddr, connections: usize, seconds: u64 },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Generator {
    Bytes,
    Hyper,
    Goose,
}

/// What one generator did.
#[derive(Serialize, Deserialize)]
struct Told {
    requests: u64,
    /// Wall clock.
    seconds: f64,
    /// Of the generator's process.
    processor_seconds: f64,
}

fn main() -> Result<()> {
    match Task::parse() {
        Task::Compare { rounds, seconds, connections } => compare(rounds, seconds, connections),
        Task::Serve { listen } => server::serve(listen),
        Task::Ask { how, address, connections, seconds } => {
            let (requests, seconds) = match how {
                Generator::Bytes => ask(address, connections, seconds, bytes::Bytes::new)?,
                Generator::Hyper => ask(address, connections, seconds, || with_hyper::Hyper::new(address))?,
                Generator::Goose => with_goose::ask(address, connections, seconds)?,
            };
            let processor_seconds = ProcessTime::now().as_duration().as_secs_f64();
            println!("{}", serde_json::to_string(&Told { requests, seconds, processor_seconds })?);
            Ok(())
        }
    }
}

/// Runs one of the two that our own loop can drive. Returns how many requests got the expected answer, and
/// the seconds.
fn ask<S: Shopper>(
    address: SocketAddr,
    connections: usize,
    seconds: u64,
    make: impl Fn() -> S,
) -> Result<(u64, f64)> {
    let load = Load {
        address,
        connections,
        pace: Pace::Closed,
        warm_up: Duration::ZERO,
        length: Duration::from_secs(seconds),
        acts: None,
        first: 0,
        hold: Arc::default(),
    };
    let outcome = run(&load, make, || {})?;
    let all_good = outcome.promises.len() as u64 >= outcome.succeeded() && outcome.unknown == 0;
    ensure!(all_good, "answers were wrong: {:?}, {} unknown", outcome.answers, outcome.unknown);
    Ok((outcome.succeeded(), outcome.seconds))
}

fn compare(rounds: u32, seconds: u64, connections: usize) -> Result<()> {
    let myself = std::env::current_exe()?;
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let mut server = Command::new(&myself).args(["serve", &address.to_string()]).spawn()?;
    let compared = all_rounds(&myself, rounds, address, connections, seconds);
    server.kill()?;
    server.wait()?;
    compared
}

fn all_rounds(
    myself: &Path,
    rounds: u32,
    address: SocketAddr,
    connections: usize,
    seconds: u64,
) -> Result<()> {
    while TcpStream::connect(address).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let names = ["bytes", "hyper", "goose"];
    let mut costs = names.map(|_| Vec::new());
    for round in 1..=rounds {
        for (how, costs) in names.iter().zip(&mut costs) {
            let told = one(myself, how, address, connections, seconds)?;
            let requests = told.requests as f64;
            let cost = told.processor_seconds * 1e6 / requests;
            println!("{round:>3} {how:<6} {:>7.0} requests/s {cost:>6.1} us each", requests / told.seconds);
            costs.push(cost);
        }
    }
    println!("\nmedian of {rounds} rounds, microseconds of the generator's processor time for a request");
    for (how, costs) in names.iter().zip(&mut costs) {
        costs.sort_by(f64::total_cmp);
        let of = |place: usize| costs.get(place).copied().unwrap_or_default();
        let last = costs.len().saturating_sub(1);
        println!("{how:<6} {:>6.1}  ({:.1} to {:.1})", of(costs.len() / 2), of(0), of(last));
    }
    Ok(())
}

fn one(myself: &Path, how: &str, address: SocketAddr, connections: usize, seconds: u64) -> Result<Told> {
    let arguments = [address.to_string(), connections.to_string(), seconds.to_string()];
    let output = Command::new(myself).args(["ask", how]).args(arguments).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{how} ended with {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let last = text.lines().last().with_context(|| format!("{how} said nothing"))?;
    serde_json::from_str(last).with_context(|| format!("{how} said {last}"))
}
