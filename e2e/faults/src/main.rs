//! `rocketmart-faults`: rows of the list of faults, or a random campaign; see `cargo xtask faults`.

use std::{
    env,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use rocketmart_faults::{
    campaign,
    fixture::Fixture,
    known_bugs::{self, Mistake},
    packets, report,
    rows::{self, ELSEWHERE, Row},
    run::{self, Outcome, Plan},
    world::{Shape, World},
};
use rocketmart_harness::process;

#[derive(Parser)]
#[command(about = "Kills, freezes, fills and cuts whatever a sale stands on, and audits what is left")]
struct Args {
    /// Rows (or known bugs) to run; all of them when neither rows nor --minutes are given
    rows: Vec<String>,
    /// Picks the faults of a campaign, and the shoppers' habits
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs a random campaign for so many minutes
    #[arg(long)]
    minutes: Option<u64>,
    /// Repeats one round of a campaign
    #[arg(long)]
    round: Option<u64>,
    /// Brings known mistakes back, one after the other, and fails unless each is caught
    #[arg(long)]
    known_bugs: bool,
    /// Names the rows and ends
    #[arg(long)]
    list: bool,
    /// The built `rocketmart-with-faults`
    #[arg(long)]
    program: PathBuf,
    /// Outcomes and histories
    #[arg(long, default_value = "target/faults")]
    out: PathBuf,
    /// The record of runs that is added to
    #[arg(long)]
    record: Option<PathBuf>,
    /// The document that is made of the record
    #[arg(long, requires = "record")]
    document: Option<PathBuf>,
}

/// Set in the process that has its own mounts and network.
const INSIDE: &str = "ROCKETMART_FAULTS_INSIDE";

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<()> {
    let args = Args::parse();
    if args.list {
        list();
        return Ok(());
    }
    if process::running_as_root() && env::var_os(INSIDE).is_none() {
        // Only this process and its children see what is mounted for Redis and what is lost between ports;
        // both go away with them.
        let again = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--net", "--"])
            .arg(env::current_exe()?)
            .args(env::args_os().skip(1))
            .env(INSIDE, "1")
            .exec();
        return Err(again).context("running in namespaces of its own");
    }
    if process::running_as_root() {
        packets::prepare()?;
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(faults(&args))
}

fn list() {
    for row in rows::all() {
        println!("{:<24} {:<18} {} (within {} s)", row.name, row.component, row.what, row.bound.as_secs());
    }
    for row in ELSEWHERE {
        println!("{:<24} {:<18} {}: {}", "-", row.component, row.what, row.place);
    }
}

async fn faults(args: &Args) -> Result<()> {
    if args.known_bugs {
        let note = |mistake: &Mistake, how: Option<&str>, took| match &args.record {
            Some(record) => report::note_mistake(record, mistake, how, took),
            None => Ok(()),
        };
        let caught = known_bugs::run(&args.rows, &args.program, &args.out, note).await;
        return document(args).and(caught);
    }
    let chosen = chosen(args)?;
    let mut place = Place { args, open: None };
    let mut broken = Vec::new();
    if args.minutes.is_some() || args.round.is_some() {
        broken.extend(rounds(args, &mut place).await?);
    }
    for row in &chosen {
        println!("\n  {}: {}, {}", row.name, row.component, row.what);
        broken.extend(place.run(&row.plan(args.seed)).await?);
    }
    for row in ELSEWHERE.iter().filter(|_| !chosen.is_empty()) {
        println!("  not run here: {} ({}): {}", row.component, row.what, row.place);
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("{} did not hold:\n  {}", broken.len(), broken.join("\n  "))
}

fn document(args: &Args) -> Result<()> {
    match (&args.record, &args.document) {
        (Some(record), Some(document)) => report::write(record, document),
        _ => Ok(()),
    }
}

/// Where runs take place: the same shop with the same people, until something is wrong with it.
struct Place<'a> {
    args: &'a Args,
    open: Option<(Arc<World>, Fixture)>,
}

impl Place<'_> {
    /// Carries out a plan and returns what is wrong, in one line.
    async fn run(&mut self, plan: &Plan) -> Result<Option<String>> {
        let (world, fixture) = match &self.open {
            Some(open) => open,
            None => self.open.insert(open(&self.args.program).await?),
        };
        let started = Instant::now();
        let outcome = run::run(world, fixture, plan, &self.args.out.join(&plan.name)).await;
        if let Some(record) = &self.args.record {
            report::note(record, &plan.name, &outcome, started.elapsed())?;
        }
        document(self.args)?;
        let trouble = judged(&plan.name, outcome);
        if trouble.is_some() {
            // The next run must not find again what is wrong here.
            self.open = None;
        }
        Ok(trouble)
    }
}

async fn open(program: &Path) -> Result<(Arc<World>, Fixture)> {
    println!("  the shop of processes …");
    let started = Instant::now();
    let world = Arc::new(World::start(Shape::usual(program)).await?);
    let fixture = Fixture::make(&world).await?;
    println!("  the shop of processes: open after {:.1} s", started.elapsed().as_secs_f64());
    Ok((world, fixture))
}

async fn rounds(args: &Args, place: &mut Place<'_>) -> Result<Vec<String>> {
    let end = Instant::now() + Duration::from_secs(args.minutes.unwrap_or_default() * 60);
    let mut broken = Vec::new();
    for round in args.round.unwrap_or_default().. {
        println!("\n  campaign of seed {}, round {round}", args.seed);
        broken.extend(place.run(&campaign::plan(args.seed, round)).await?);
        if args.round.is_some() || Instant::now() >= end {
            break;
        }
    }
    Ok(broken)
}

/// Prints how a run went and returns what is wrong with it, in one line.
fn judged(name: &str, outcome: Result<Outcome>) -> Option<String> {
    match outcome {
        Err(error) => {
            println!("    {name}: FAILED: {error:#}");
            Some(format!("{name}: {error:#}"))
        }
        Ok(outcome) => {
            let audit = &outcome.audit;
            println!(
                "    {name}: {} injections, {} requests, {} paid; lost {}, gone with Redis {}, oversold {}, double {}; unknown {} ({} answered later); slowest recovery {:.1} s of {} s: {}",
                outcome.injections,
                outcome.operations,
                audit.orders.get("paid").copied().unwrap_or_default(),
                audit.lost_2xx,
                audit.gone_with_redis,
                audit.oversold,
                audit.charged_twice,
                audit.unknown.keys,
                audit.unknown.answered_later,
                outcome.slowest_recovery,
                outcome.bound,
                if outcome.passed() { "held" } else { "BROKEN" }
            );
            outcome.troubles.iter().for_each(|trouble| println!("      {trouble}"));
            (!outcome.passed()).then(|| format!("{name}: {}", outcome.troubles.join("; ")))
        }
    }
}

fn chosen(args: &Args) -> Result<Vec<Row>> {
    let all = rows::all();
    if args.rows.is_empty() {
        let rows_are_wanted = args.minutes.is_none() && args.round.is_none();
        return Ok(if rows_are_wanted { all } else { Vec::new() });
    }
    args.rows
        .iter()
        .map(|name| {
            let found = all.iter().find(|row| row.name == name).cloned();
            found.with_context(|| format!("no row `{name}`; --list names them"))
        })
        .collect()
}
