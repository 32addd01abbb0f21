//! Bugs put back on purpose: a run that does not catch them is worth nothing.
//!
//! Each runs in its own shop, under the fault that turns the bug into a loss.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use rocketmart_harness::stack::Component;

use crate::{
    fault::{BEFORE_HANDLING, Fault},
    fixture::Fixture,
    rows::{PAYMENT_SECONDS, dies, units},
    run::{self as sale, Faults, Plan},
    world::{Shape, World},
};

const SHOPPERS: usize = 250;
/// More than the minute after which the relay repairs what Kafka lost.
const DRAIN_LIMIT: Duration = Duration::from_secs(75);
const BUG: &str = "ROCKETMART_BUG";

/// A mistake that we could make.
#[derive(Debug)]
pub struct Mistake {
    pub name: &'static str,
    pub what: &'static str,
    /// The switch in the program, if the mistake is in the program.
    bug: Option<&'static str>,
    appendfsync: &'static str,
    faults: fn() -> Vec<Fault>,
}

pub const MISTAKES: [Mistake; 3] = [
    Mistake {
        name: "offsets-first",
        what: "offsets are committed before what they stand for is in SQL",
        bug: Some("offsets-first"),
        appendfsync: "always",
        faults: || {
            vec![
                dies(Component::OrderWorker, BEFORE_HANDLING),
                dies(Component::PaymentWorker, BEFORE_HANDLING),
            ]
        },
    },
    Mistake {
        name: "release-unchecked",
        what: "units are given back without looking whether that has happened already",
        bug: Some("release-unchecked"),
        appendfsync: "always",
        faults: Vec::new,
    },
    Mistake {
        name: "reply-before-fsync",
        what: "shoppers are answered before what they bought is on the disk",
        // Otherwise the shop would refuse Redis with these settings.
        bug: Some("any-redis-settings"),
        appendfsync: "no",
        faults: || vec![Fault::RedisPowerCut],
    },
];

/// Runs the named mistakes, or all. Tells `note` how each was caught, if it was. The error names those that
/// were not.
pub async fn run(
    names: &[String],
    program: &Path,
    out: &Path,
    note: impl Fn(&Mistake, Option<&str>, Duration) -> Result<()>,
) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| MISTAKES.iter().all(|mistake| mistake.name != **name)) {
        bail!("no known bug `{unknown}`");
    }
    let wanted = |mistake: &&Mistake| names.is_empty() || names.iter().any(|name| name == mistake.name);
    let mut missed = Vec::new();
    for mistake in MISTAKES.iter().filter(wanted) {
        println!("\n  known bug {}: {}", mistake.name, mistake.what);
        let started = Instant::now();
        let how = caught(mistake, program, out).await?;
        note(mistake, how.as_deref(), started.elapsed())?;
        if let Some(how) = how {
            println!("    caught: {how}");
        } else {
            println!("    NOT caught");
            missed.push(mistake.name);
        }
    }
    if missed.is_empty() {
        return Ok(());
    }
    bail!("not caught: {}", missed.join(", "))
}

/// What the run found, if anything.
async fn caught(mistake: &Mistake, program: &Path, out: &Path) -> Result<Option<String>> {
    let mut shape = Shape { appendfsync: mistake.appendfsync, ..Shape::usual(program) };
    for component in Component::ALL {
        shape.environment.extend(mistake.bug.map(|bug| (component, BUG, bug.to_owned())));
    }
    let world = Arc::new(World::start(shape).await?);
    let fixture = Fixture::make(&world).await?;
    let plan = Plan {
        name: format!("bug-{}", mistake.name),
        faults: Faults::InTurn((mistake.faults)()),
        bound: Duration::from_secs(15),
        shoppers: SHOPPERS,
        units: units(SHOPPERS),
        arrive_within: Duration::from_secs(20),
        kafka_is_emptied: false,
        payment_seconds: PAYMENT_SECONDS,
        drain_limit: DRAIN_LIMIT,
        seed: 1,
    };
    let outcome = sale::run(&world, &fixture, &plan, &out.join(&plan.name)).await?;
    // A slow recovery does not count here: the books have to be wrong.
    let found = outcome.audit.invariants.iter().filter(|(_, verdict)| verdict.difference > 0);
    let found: Vec<_> = found.map(|(name, verdict)| format!("{name} ({})", verdict.difference)).collect();
    Ok((!found.is_empty()).then(|| found.join(", ")))
}
