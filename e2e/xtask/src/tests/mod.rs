//! `cargo xtask test`: all tests in tiers, cheapest first, with a summary.
//!
//! A tier that could not run has failed: it is an error if a tier executed no test, and so is an ignored
//! test. [`suites`] runs the executables, [`outcome`] reads what they print.

mod outcome;
mod suites;

use std::{cell::OnceCell, time::Instant};

use anyhow::{Context as _, Result, bail};
use rocketmart_harness::{
    backing::shared::Servers,
    prepare,
    programs::{Executable, Kind, Programs},
};

use self::{
    outcome::{Outcome, execute},
    suites::{Suite, Surroundings},
};
use crate::{bench, demo, deployed::Deployed, faults, quality};

/// Its integration tests are property tests of the functions on a real Redis.
const ENGINE: &str = "rocketmart-stock";
/// The queues in front of the functions, under schedules that shuttle picks.
const SCHEDULES: &str = "rocketmart-stock-schedules";
const OPERATOR: &str = "rocketmart-operator";
const SHOP: &str = "rocketmart-shop";
/// It hashes passwords; each hash takes a whole core.
const MEMBER: &str = "rocketmart-member";
/// The tests that ask for everything the shop offers, wherever it runs.
const ROWS: &str = "shop";
/// The tests that need a cluster.
const ON_A_CLUSTER: &str = "deployed";
/// Most tests wait for servers most of the time, so this many executables run side by side on two cores.
const SIDE_BY_SIDE: usize = 2;
/// Unit tests compute.
const ONE_BY_ONE: usize = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tier {
    Unit,
    Services,
    Shop,
    Operator,
    Faults,
    EndToEnd,
    Deployed,
}

impl Tier {
    const ALL: [Self; 7] = [
        Self::Unit,
        Self::Services,
        Self::Shop,
        Self::Operator,
        Self::Faults,
        Self::EndToEnd,
        Self::Deployed,
    ];

    /// What runs when no tier is named. The questions to a deployed shop are the second half of `e2e`.
    const USUAL: [Self; 6] =
        [Self::Unit, Self::Services, Self::Shop, Self::Operator, Self::Faults, Self::EndToEnd];

    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Services => "services",
            Self::Shop => "shop",
            Self::Operator => "operator",
            Self::Faults => "faults",
            Self::EndToEnd => "e2e",
            Self::Deployed => "deployed",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Unit => "unit and property tests, generated files",
            Self::Services => "services against real Redis, PostgreSQL, Kafka and Cassandra",
            Self::Shop => "what buyers and sellers do, and must not, in a whole shop of processes",
            Self::Operator => "operator against a real API server and etcd",
            Self::Faults => "sixteen faults at random, several at once, in a sale under load",
            Self::EndToEnd => {
                "a whole sale on the node, then everything else in the shop that it leaves there"
            }
            Self::Deployed => "what buyers and sellers do in a shop that is on a cluster already",
        }
    }

    fn run(self, run: &Run<'_>) -> Result<Outcome> {
        let Run { programs, options, .. } = run;
        match self {
            Self::Unit => {
                let mut outcome = Outcome::of("generated files", quality::generate(programs, true));
                let property_tests = programs
                    .tests(Kind::IntegrationTests)
                    .filter(|test| [ENGINE, SCHEDULES].contains(&test.package.as_str()));
                let suites = programs.tests(Kind::UnitTests).chain(property_tests).map(suite).collect();
                outcome += Surroundings::new(run.long, []).run(suites, ONE_BY_ONE);
                Ok(outcome)
            }
            Self::Services => {
                let others = [ENGINE, SCHEDULES, OPERATOR, SHOP];
                let mut outcome = run.on_servers(|test| !others.contains(&test.package.as_str()))?;
                println!("\n-- some benchmarks for a moment");
                outcome += Outcome::of("benchmarks", bench::works(programs));
                Ok(outcome)
            }
            Self::Shop => run.on_servers(|test| test.package == SHOP && test.name != ON_A_CLUSTER),
            Self::Operator => run.on_servers(|test| test.package == OPERATOR),
            Self::Faults => Ok(Outcome::of("faults", faults::short(programs))),
            Self::EndToEnd => {
                let mut outcome = Outcome::default();
                if options.kubeconfig.is_none() {
                    rocketmart_harness::node::survives_a_crash_and_leaves_nothing()?;
                    outcome.passed += 1;
                }
                demo::run(options)?;
                outcome.passed += 1;
                outcome += against_the_deployed(programs, options)?;
                Ok(outcome)
            }
            Self::Deployed => against_the_deployed(programs, options),
        }
    }
}

/// What the tiers of one run have in common.
struct Run<'a> {
    programs: &'a Programs,
    options: &'a demo::Options,
    /// Whether sweeps try everything.
    long: bool,
    /// The first tier that needs the servers starts them.
    servers: OnceCell<Servers>,
}

impl Run<'_> {
    /// Runs integration tests on the servers that they all share.
    fn on_servers(&self, wanted: impl Fn(&Executable) -> bool) -> Result<Outcome> {
        let servers = if let Some(servers) = self.servers.get() {
            servers
        } else {
            let started = Servers::start()?;
            self.servers.get_or_init(|| started)
        };
        let tests = self.programs.tests(Kind::IntegrationTests).filter(|test| wanted(test));
        let surroundings = Surroundings::new(self.long, servers.environment());
        Ok(surroundings.run(tests.map(suite).collect(), SIDE_BY_SIDE))
    }
}

fn suite(executable: &Executable) -> Suite<'_> {
    let tests_at_once = match (executable.kind, executable.package.as_str()) {
        // These compute, or start a whole shop.
        (Kind::UnitTests, _) | (_, ENGINE | SCHEDULES | MEMBER | SHOP) => None,
        // These wait for deadlines.
        (_, OPERATOR) => Some(5),
        // These wait for servers, for Kafka and for time to pass.
        _ => Some(6),
    };
    Suite { executable, tests_at_once }
}

/// Runs the named tiers. The demo's options and `--long` follow the names.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (long, arguments): (Vec<String>, Vec<String>) =
        arguments.iter().cloned().partition(|argument| argument == "--long");
    let long = !long.is_empty();
    let options = arguments.iter().position(|argument| argument.starts_with("--"));
    let (names, options) = arguments.split_at(options.unwrap_or(arguments.len()));
    let (tiers, options) = (chosen(names)?, demo::Options::parse(options)?);
    prepare::for_tests()?;
    let programs = Programs::build_with_tests()?;
    let run = Run { programs: &programs, options: &options, long, servers: OnceCell::new() };
    let mut total = Outcome::default();
    let mut lines = Vec::new();
    for tier in tiers {
        println!("\n== {}: {}", tier.name(), tier.about());
        let started = Instant::now();
        let outcome = match tier.run(&run) {
            Ok(outcome) if outcome.passed + outcome.failed == 0 => {
                Outcome::failed(tier.name(), "no test was executed")
            }
            Ok(outcome) => outcome,
            Err(error) => Outcome::failed(tier.name(), &format!("{error:#}")),
        };
        let seconds = started.elapsed().as_secs();
        lines.push(format!(
            "{:<10}{:>5} passed, {:>3} failed  {seconds:>4} s",
            tier.name(),
            outcome.passed,
            outcome.failed
        ));
        total += outcome;
    }
    summarize(&lines, &total);
    if total.failed > 0 {
        bail!("tests failed");
    }
    Ok(())
}

fn summarize(lines: &[String], total: &Outcome) {
    for failure in &total.failures {
        println!("\n-- failed: {}", failure.test);
        for line in &failure.output {
            println!("   {line}");
        }
    }
    println!("\n== summary");
    for line in lines {
        println!("{line}");
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    for failure in &total.failures {
        println!("   failed: {}", failure.test);
    }
}

fn chosen(names: &[String]) -> Result<Vec<Tier>> {
    if names.is_empty() {
        return Ok(Tier::USUAL.to_vec());
    }
    names
        .iter()
        .map(|name| {
            let known = Tier::ALL.map(Tier::name).join(", ");
            let tier = Tier::ALL.into_iter().find(|tier| tier.name() == name);
            tier.with_context(|| format!("no tier `{name}`; there are {known}"))
        })
        .collect()
}

/// Tests a shop on a cluster.
fn against_the_deployed(programs: &Programs, options: &demo::Options) -> Result<Outcome> {
    println!("\n-- the deployed shop");
    let shop = Deployed::find(options)?;
    shop.helm_test()?;
    let mut outcome = Outcome::passed();
    // Tests that stop components come last.
    for name in [ROWS, ON_A_CLUSTER] {
        let mut tests = programs.tests(Kind::IntegrationTests);
        let tests = tests.find(|test| test.package == SHOP && test.name == name);
        let executable = tests.with_context(|| format!("{SHOP} has no tests `{name}`"))?;
        outcome += execute(&mut shop.tests(executable), SHOP);
    }
    shop.forget_sales()?;
    Ok(outcome)
}
