//! The scenarios by name, and what they share: the shop, the buyers, the length of a run.

mod accept;
mod growth;
mod latency;
mod memory;
mod naive;
mod operator;
mod paid;
mod preload;
mod scale;
mod search;
mod seed;
mod soldout;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rocketmart_harness::checkout;
use rocketmart_loadtest::client::Client;
use rocketmart_loadtest::generator::{Load, Outcome, Pace, Promise, Shopper, run};

use super::figures::{Figure, Measured};
use super::meter::Usage;
use super::shop::{Programs, Shop};
use super::shoppers::{Buying, Cancelling, Wish};
use super::tokens::Buyers;

/// All of them, in the order in which they run.
pub(crate) const NAMES: [&str; 12] = [
    "accept", "soldout", "latency", "naive", "paid", "scenario", "growth", "preload", "search", "scale",
    "memory", "operator",
];

/// Shoppers at once when we look for a peak.
const CONNECTIONS: usize = 256;
const LIMIT: &str = "no-op";

/// How long we measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lengths {
    pub(crate) quick: bool,
    pub(crate) runs: usize,
    pub(crate) warm_up: Duration,
    pub(crate) run: Duration,
    /// The length of a steady state.
    pub(crate) steady: Duration,
    pub(crate) buyers: usize,
}

impl Lengths {
    pub(crate) fn full() -> Self {
        Self {
            quick: false,
            runs: 3,
            warm_up: Duration::from_secs(1),
            run: Duration::from_secs(3),
            steady: Duration::from_mins(1),
            buyers: 50_000,
        }
    }

    /// Enough to see that everything works; not a measurement.
    pub(crate) fn quick() -> Self {
        Self {
            quick: true,
            runs: 1,
            warm_up: Duration::from_millis(200),
            run: Duration::from_millis(500),
            steady: Duration::from_secs(2),
            buyers: 500,
        }
    }
}

/// What one scenario leaves for the next.
pub(crate) struct Bench {
    programs: Programs,
    pub(crate) lengths: Lengths,
    shop: Option<Shop>,
    /// Purchases accepted per second at the peak, once known.
    peak: Option<f64>,
    idle_mib: BTreeMap<String, f64>,
    peak_mib: BTreeMap<String, f64>,
}

impl Bench {
    pub(crate) fn new(programs: Programs, lengths: Lengths) -> Self {
        let (idle_mib, peak_mib) = (BTreeMap::new(), BTreeMap::new());
        Self { programs, lengths, shop: None, peak: None, idle_mib, peak_mib }
    }

    pub(crate) fn measure(&mut self, name: &str) -> Result<Measured> {
        let began = Instant::now();
        let (what, figures, notes) = match name {
            "accept" => accept::measure(self),
            "soldout" => soldout::measure(self),
            "latency" => latency::measure(self),
            "naive" => naive::measure(self),
            "paid" => paid::measure(self),
            "scenario" => seed::measure(self),
            "growth" => growth::measure(self),
            "preload" => preload::measure(self),
            "search" => search::measure(self),
            "scale" => scale::measure(self),
            "memory" => memory::measure(self),
            "operator" => operator::measure(self),
            other => bail!("no scenario `{other}`; there are {}", NAMES.join(", ")),
        }
        .with_context(|| format!("scenario {name}"))?;
        self.note_memory()?;
        Ok(Measured {
            name: name.to_owned(),
            what: what.to_owned(),
            figures,
            notes,
            took_seconds: began.elapsed().as_secs_f64(),
            commit: checkout::commit(),
            quick: self.lengths.quick,
        })
    }

    /// A shop in which nothing has happened yet.
    ///
    /// A short try saves the time and reuses the shop: nobody would see the difference.
    fn fresh_shop(&mut self) -> Result<&mut Shop> {
        if self.lengths.quick && self.shop.is_some() {
            return self.shop();
        }
        self.shop = None;
        let shop = Shop::open(&self.programs)?;
        if self.idle_mib.is_empty() {
            self.idle_mib = shop.meter().memory()?;
        }
        Ok(self.shop.insert(shop))
    }

    /// The previous scenario's shop, if there is one.
    fn shop(&mut self) -> Result<&mut Shop> {
        if self.shop.is_none() {
            self.fresh_shop()?;
        }
        self.shop.as_mut().context("there is a shop")
    }

    /// Reads the memory while what a run left is still there.
    fn note_memory(&mut self) -> Result<()> {
        let Some(shop) = &self.shop else { return Ok(()) };
        for (name, mib) in shop.meter().memory()? {
            let most = self.peak_mib.entry(name).or_default();
            *most = most.max(mib);
        }
        Ok(())
    }
}

/// The result of a scenario: what it measures, figures, notes.
type Answer = Result<(&'static str, Vec<Figure>, Vec<String>)>;

/// A load of the usual length.
fn load(address: SocketAddr, pace: Pace, lengths: &Lengths, first: u64) -> Load {
    Load {
        address,
        connections: CONNECTIONS,
        pace,
        warm_up: lengths.warm_up,
        length: lengths.run,
        acts: None,
        first,
        hold: std::sync::Arc::default(),
    }
}

/// Runs a load and measures who used the processor during it.
fn metered<S: Shopper>(shop: &Shop, load: &Load, make: impl Fn() -> S) -> Result<(Outcome, Usage)> {
    let meter = shop.meter();
    let mut readings = Vec::with_capacity(2);
    let outcome = run(load, make, || readings.push(meter.read()))?;
    let mut readings = readings.into_iter();
    let (Some(before), Some(after)) = (readings.next(), readings.next()) else {
        bail!("a load has two ends")
    };
    Ok((outcome, after?.since(&before?)))
}

/// Shows every token to a service once, as if the buyer had looked at a page before. The requests lack a key,
/// so they are refused, but only after their token was verified.
fn make_known(address: SocketAddr, buyers: &Rc<Buyers>) -> Result<()> {
    let mut wish = Wish::new(uuid::Uuid::nil(), "-", buyers);
    wish.with_key = false;
    let wish = Rc::new(wish);
    let count = buyers.len() as u64;
    let outcome = run(&errand(address, count), || Buying::new(&wish), || {})?;
    ensure!(outcome.answered(400) == count, "tokens were not verified: {:?}", outcome.answers);
    Ok(())
}

/// Cancels orders, so that nobody has to wait until their reservations expire.
fn cancel(address: SocketAddr, promises: Vec<Promise>, buyers: &Rc<Buyers>) -> Result<()> {
    let count = promises.len() as u64;
    let promises = Rc::new(promises);
    let outcome = run(&errand(address, count), || Cancelling::new(&promises, buyers), || {})?;
    ensure!(outcome.answered(200) == count, "orders were not cancelled: {:?}", outcome.answers);
    Ok(())
}

/// A load of this many requests, none of them measured.
fn errand(address: SocketAddr, acts: u64) -> Load {
    Load {
        address,
        connections: 64,
        pace: Pace::Closed,
        warm_up: Duration::ZERO,
        length: Duration::from_mins(2),
        acts: Some(acts),
        first: 0,
        hold: std::sync::Arc::default(),
    }
}

/// The metrics of a process, as Prometheus would read them.
async fn metrics(admin: &Client) -> Result<String> {
    let body = admin.get("/metrics", None).await?.expect_success("/metrics")?;
    Ok(body.as_str().context("metrics are text")?.to_owned())
}

/// A value from [`metrics`], by name and labels; 0 if it was never counted.
fn metric(text: &str, name: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
fn per_second(count: u64, outcome: &Outcome) -> f64 {
    count as f64 / outcome.seconds
}

fn quantiles(outcome: &Outcome) -> BTreeMap<String, f64> {
    let all = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];
    all.into_iter().map(|(name, quantile)| (name.to_owned(), outcome.latency_ms(quantile))).collect()
}

/// Adds a run to a figure.
fn note_run(figure: &mut Figure, value: f64, outcome: &Outcome, usage: &Usage) {
    figure.runs.push(value);
    figure.cores = usage.cores();
    figure.latency_ms = quantiles(outcome);
    println!(
        "    {:<28}{value:>12.0} {:<8} p99 {:>8.1} ms",
        figure.label,
        figure.unit,
        outcome.latency_ms(0.99)
    );
}

/// Microseconds of processor time per event, in one line.
fn cost(label: &str, usage: &Usage, events: f64) -> String {
    let mut costs: Vec<(String, f64)> =
        usage.per_event_us(events).into_iter().filter(|(_, us)| *us >= 0.5).collect();
    costs.sort_by(|a, b| b.1.total_cmp(&a.1));
    let total: f64 = costs.iter().map(|(_, us)| us).sum();
    let parts: Vec<String> = costs.iter().map(|(name, us)| format!("{name} {us:.1}")).collect();
    format!("Processor time of {label}, µs: {total:.0} in all ({}).", parts.join(", "))
}
