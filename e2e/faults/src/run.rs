//! One run: a sale under load, the faults during it, and what they left.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use rocketmart_checker::audit::{Audit, Sources, audit};
use rocketmart_contracts::internal_api::{Item, SaleTerms};
use rocketmart_loadtest::{
    history::{History, Record},
    rush,
    shopper::Habits,
};
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use uuid::Uuid;

use crate::{
    evidence,
    fault::Fault,
    fixture::Fixture,
    probe::ProbePool,
    products::{CURRENCY, PRICE, PROBE, ROCKET},
    world::World,
};

/// Time from loading a sale to its opening.
const LEAD: Duration = Duration::from_secs(2);
/// If the shop needs more than this on top of twice its bound to recover, the run gives up.
const BEYOND_BOUND: Duration = Duration::from_secs(30);
/// A pause between two faults, so that each meets the shop at work: about two dozen shoppers come during it.
const LULL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_mins(2);
/// Time from the close-out until the last shopper has gone home.
const GOING_HOME: Duration = Duration::from_mins(1);
/// Time from the close-out until shipments and outboxes have caught up.
const SETTLE_LIMIT: Duration = Duration::from_mins(1);
const AUDIT_INTERVAL: Duration = Duration::from_millis(500);
/// The audit reads Kafka from this long before the sale was loaded, because one of its producers may have a
/// clock that is ten minutes slow.
const SLOWEST_CLOCK: Duration = Duration::from_mins(11);
const REQUESTS_AT_ONCE: usize = 64;
const PROBE_UNITS: u32 = 150_000;

/// What happens during a sale.
#[derive(Debug, Clone)]
pub struct Plan {
    pub name: String,
    /// Each at its time after the opening (in a campaign, where they overlap), or one after another.
    pub faults: Faults,
    /// The longest time the shop may take to work again once a fault is over.
    pub bound: Duration,
    pub shoppers: usize,
    pub units: u32,
    /// The last shopper comes this long after the opening.
    pub arrive_within: Duration,
    pub kafka_is_emptied: bool,
    /// An unpaid order gives its unit back after this time.
    pub payment_seconds: u32,
    /// Time from closing the sale until everything has drained.
    pub drain_limit: Duration,
    pub seed: u64,
}

#[derive(Debug, Clone)]
pub enum Faults {
    /// One after another; the shop recovers in between.
    InTurn(Vec<Fault>),
    /// At their times, whatever else is going on.
    AtTimes(Vec<(Duration, Fault)>),
}

/// The result of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    pub name: String,
    pub sale: Uuid,
    pub faults: Vec<String>,
    pub injections: usize,
    /// Why faults of a campaign could not be injected: another fault had just ended their target.
    pub not_injected: Vec<String>,
    /// Requests of shoppers and probe buyers, by outcome.
    pub operations: usize,
    pub ok: usize,
    pub refused: usize,
    pub unknown: usize,
    /// Seconds from the end of a fault until somebody could buy and pay again.
    pub recoveries: Vec<f64>,
    pub slowest_recovery: f64,
    pub bound: f64,
    /// How many processes were restarted, whoever ended them.
    pub revivals: usize,
    pub close_out: Value,
    pub audit: Audit,
    pub troubles: Vec<String>,
}

impl Outcome {
    pub fn passed(&self) -> bool {
        self.troubles.is_empty()
    }
}

/// Runs a plan. An error means that the run could not be carried out.
pub async fn run(world: &Arc<World>, fixture: &Fixture, plan: &Plan, folder: &Path) -> Result<Outcome> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    evidence::clear(folder)?;
    let sale = Uuid::now_v7();
    let since = OffsetDateTime::now_utc() - SLOWEST_CLOCK;
    let opens_at = OffsetDateTime::now_utc() + LEAD;
    let terms = terms(plan, opens_at);
    let api = world.internal_api().clone();
    blocking({
        let (api, terms) = (api.clone(), terms.clone());
        move || api.load(&sale.to_string(), &terms, PATIENCE)
    })
    .await?;

    let history = folder.join("history.jsonl");
    let rush = tokio::spawn(rush::run(rush::Plan {
        shop: fixture.shop.clone(),
        provider: fixture.provider.clone(),
        sale: sale.to_string(),
        sku: ROCKET.to_owned(),
        habits: Habits::OF_THE_SEED,
        people: fixture.shoppers.iter().take(plan.shoppers).cloned().collect(),
        opens_at,
        arrive_within: plan.arrive_within,
        history: history.clone(),
        seed: plan.seed,
        requests_at_once: REQUESTS_AT_ONCE,
        limit: Duration::from_hours(1),
    }));
    let probes = folder.join("probes.jsonl");
    let buyers = fixture.probe_buyers.clone();
    let pool = ProbePool::new(fixture.shop.clone(), buyers, &sale.to_string(), History::create(&probes)?);
    let pool = Arc::new(pool);
    let revivals = world.revivals();
    pool.until_one_succeeds(PATIENCE).await.context("before any fault")?;
    pool.change_their_minds().await.context("cancelling twice")?;
    let mut troubles = Vec::new();
    world.set_probe_pool(Some(Arc::clone(&pool)));
    let injected = inject(world, &pool, plan, opens_at).await;
    world.set_probe_pool(None);
    let Injected { injections, not_injected, recoveries } = injected.unwrap_or_else(|error| {
        troubles.push(format!("{error:#}"));
        Injected::default()
    });

    let drain_limit = plan.drain_limit;
    // The shop is whole again: close the sale and let everything on its way arrive.
    let close_out =
        blocking(move || Ok(serde_json::to_value(api.close_out(&sale.to_string(), drain_limit)?)?)).await;
    let close_out = close_out.unwrap_or_else(|error| json!({"error": format!("{error:#}")}));
    if close_out["differences_total"] != json!(0) {
        troubles.push(format!("the close-out found differences: {close_out}"));
    }
    if !troubles.is_empty() {
        keep_evidence(world, folder).await;
    }
    let aftermath = timeout(GOING_HOME, rush).await.map_err(|_| {
        anyhow!("shoppers still wait for the sale to end after the close-out; {}", troubles.join("; "))
    })?;
    let mut records = aftermath??.records;
    let pool = Arc::into_inner(pool).ok_or_else(|| anyhow!("a probe buyer is still under way"))?;
    records.extend(pool.finish()?);
    append(&probes, &history)?;
    let audit = settle(world, plan, sale, since, &history).await?;
    let findings = findings(&audit);
    if !findings.is_empty() {
        keep_evidence(world, folder).await;
    }
    troubles.extend(findings);
    let slowest = recoveries.iter().copied().max().unwrap_or_default();
    if slowest > plan.bound {
        troubles.push(format!(
            "recovering took {:.1} s, the bound is {} s",
            slowest.as_secs_f64(),
            plan.bound.as_secs()
        ));
    }
    let outcome = Outcome {
        sale,
        faults: described(&plan.faults),
        injections,
        not_injected,
        operations: records.len(),
        ok: count(&records, rocketmart_loadtest::history::Outcome::Ok),
        refused: count(&records, rocketmart_loadtest::history::Outcome::Refused),
        unknown: count(&records, rocketmart_loadtest::history::Outcome::Unknown),
        recoveries: recoveries.iter().map(Duration::as_secs_f64).collect(),
        slowest_recovery: slowest.as_secs_f64(),
        bound: plan.bound.as_secs_f64(),
        revivals: world.revivals() - revivals,
        close_out,
        audit,
        troubles,
        name: plan.name.clone(),
    };
    fs::write(folder.join("outcome.json"), serde_json::to_vec_pretty(&outcome)?)?;
    Ok(outcome)
}

fn terms(plan: &Plan, opens_at: OffsetDateTime) -> SaleTerms {
    let item = |sku: &str, units: u32, limit: u32| Item {
        sku: sku.to_owned(),
        units: units.into(),
        price: PRICE,
        per_buyer_limit: limit.into(),
    };
    SaleTerms {
        name: plan.name.clone(),
        fence: 1,
        items: vec![item(ROCKET, plan.units, 1), item(PROBE, PROBE_UNITS, PROBE_UNITS)],
        currency: CURRENCY.to_owned(),
        opens_at,
        closes_at: opens_at + Duration::from_hours(4),
        payment_seconds: plan.payment_seconds.into(),
    }
}

/// The results of a plan's faults.
#[derive(Default)]
struct Injected {
    injections: usize,
    not_injected: Vec<String>,
    /// How long it took to recover from each; in a campaign, from all of them together.
    recoveries: Vec<Duration>,
}

async fn inject(
    world: &Arc<World>,
    pool: &Arc<ProbePool>,
    plan: &Plan,
    opens_at: OffsetDateTime,
) -> Result<Injected> {
    let limit = plan.bound * 2 + BEYOND_BOUND;
    match &plan.faults {
        Faults::InTurn(faults) => {
            let mut recoveries = Vec::new();
            for fault in faults {
                println!("    {fault}");
                let (injecting, world) = (fault.clone(), Arc::clone(world));
                blocking(move || injecting.inject(&world)).await?;
                let recovery = pool.until_one_succeeds(limit).await.with_context(|| fault.to_string())?;
                println!("      bought and paid again after {:.1} s", recovery.as_secs_f64());
                recoveries.push(recovery);
                tokio::time::sleep(LULL).await;
            }
            Ok(Injected { injections: faults.len(), not_injected: Vec::new(), recoveries })
        }
        Faults::AtTimes(faults) => {
            let left = Duration::try_from(opens_at - OffsetDateTime::now_utc()).unwrap_or_default();
            let start = Instant::now() + left;
            let mut going_on = JoinSet::new();
            let failed: Arc<Mutex<Vec<String>>> = Arc::default();
            for (at, fault) in faults.clone() {
                let (world, failed) = (Arc::clone(world), Arc::clone(&failed));
                going_on.spawn(async move {
                    tokio::time::sleep_until(start + at).await;
                    println!("    {:>5.1} s  {fault}", at.as_secs_f64());
                    // Some faults cannot be injected into what another fault has just ended.
                    if let Err(error) = blocking(move || fault.inject(&world)).await {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{error:#}"));
                    }
                });
            }
            while going_on.join_next().await.is_some() {}
            let recovery = pool.until_one_succeeds(limit).await.context("after all faults")?;
            let not_injected = std::mem::take(&mut *failed.lock().unwrap_or_else(PoisonError::into_inner));
            for error in &not_injected {
                println!("    could not be injected: {error}");
            }
            ensure!(
                not_injected.len() * 4 <= faults.len(),
                "more than a quarter of the faults could not be injected: {}",
                not_injected.join("; ")
            );
            let injections = faults.len() - not_injected.len();
            Ok(Injected { injections, not_injected, recoveries: vec![recovery] })
        }
    }
}

async fn keep_evidence(world: &Arc<World>, folder: &Path) {
    let (world, folder) = (Arc::clone(world), folder.to_owned());
    if let Err(error) = blocking(move || evidence::keep(&world, &folder)).await {
        println!("      the evidence could not be kept: {error:#}");
    }
}

/// Audits until nothing differs, or the time is up.
async fn settle(
    world: &World,
    plan: &Plan,
    sale: Uuid,
    since: OffsetDateTime,
    history: &Path,
) -> Result<Audit> {
    let sources = Sources {
        since_ms: i64::try_from(since.unix_timestamp_nanos() / 1_000_000)?,
        kafka_was_emptied: plan.kafka_is_emptied,
        ..world.sources(history)
    };
    let deadline = Instant::now() + SETTLE_LIMIT;
    loop {
        let found = audit(&sources, sale).await?;
        if found.differences() == 0 || Instant::now() >= deadline {
            return Ok(found);
        }
        tokio::time::sleep(AUDIT_INTERVAL).await;
    }
}

fn findings(audit: &Audit) -> Vec<String> {
    let broken = audit.invariants.iter().filter(|(_, verdict)| verdict.difference > 0);
    broken
        .map(|(name, verdict)| {
            let first = verdict.findings.iter().take(3).cloned().collect::<Vec<_>>().join("; ");
            format!("{name}: {} findings, the first: {first}", verdict.difference)
        })
        .collect()
}

fn described(faults: &Faults) -> Vec<String> {
    match faults {
        Faults::InTurn(faults) => faults.iter().map(ToString::to_string).collect(),
        Faults::AtTimes(faults) => {
            faults.iter().map(|(at, fault)| format!("{:.1} s: {fault}", at.as_secs_f64())).collect()
        }
    }
}

fn count(records: &[Record], outcome: rocketmart_loadtest::history::Outcome) -> usize {
    records.iter().filter(|record| record.outcome == outcome).count()
}

fn append(from: &PathBuf, to: &PathBuf) -> Result<()> {
    let mut history = fs::OpenOptions::new().append(true).open(to)?;
    Ok(history.write_all(&fs::read(from)?)?)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}
