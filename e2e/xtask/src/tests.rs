//! `cargo xtask test`: all tests in tiers, cheapest first, with a summary.
//!
//! A tier that could not run has failed: a tier with no test executed is an error, and so is an
//! ignored test.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use rocketmart_harness::{
    prepare,
    programs::{Executable, Kind, Programs},
};

use crate::{bench, demo, deployed::Deployed, faults, quality};

/// Its integration tests are property tests of the functions on a real Redis.
const ENGINE: &str = "rocketmart-stock";
const OPERATOR: &str = "rocketmart-operator";
const SHOP: &str = "rocketmart-shop";
/// It hashes passwords, which takes a core each.
const MEMBER: &str = "rocketmart-member";
/// Of its tests, those that ask for everything the shop offers, wherever it is, and those that need a cluster.
const ROWS: &str = "shop";
const ON_A_CLUSTER: &str = "deployed";
/// The operator's tests wait for deadlines most of the time, so more of them than there are cores run at once.
const WAITING: &str = "--test-threads=5";
/// The services' tests wait for servers, for what Kafka carries and for time to pass.
const WAITING_MOST: &str = "--test-threads=6";

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

    /// What runs unless tiers are named: what is asked of a deployed shop is the second half of `e2e`.
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

    fn run(self, programs: &Programs, options: &demo::Options) -> Result<Count> {
        match self {
            Self::Unit => {
                quality::generate(programs, true)?;
                let property_tests =
                    programs.tests(Kind::IntegrationTests).filter(|test| test.package == ENGINE);
                run_all(programs.tests(Kind::UnitTests).chain(property_tests), None)
            }
            Self::Services => {
                let others = [ENGINE, OPERATOR, SHOP, MEMBER];
                let mut count = run_all(
                    programs
                        .tests(Kind::IntegrationTests)
                        .filter(|test| !others.contains(&test.package.as_str())),
                    Some(WAITING_MOST),
                )?;
                count += run_all(
                    programs.tests(Kind::IntegrationTests).filter(|test| test.package == MEMBER),
                    None,
                )?;
                println!("\n-- some benchmarks for a moment");
                bench::works(programs)?;
                count.passed += 1;
                Ok(count)
            }
            Self::Shop => run_all(
                programs
                    .tests(Kind::IntegrationTests)
                    .filter(|test| test.package == SHOP && test.name != ON_A_CLUSTER),
                None,
            ),
            Self::Operator => run_all(
                programs.tests(Kind::IntegrationTests).filter(|test| test.package == OPERATOR),
                Some(WAITING),
            ),
            Self::Faults => {
                faults::short(programs)?;
                Ok(Count { passed: 1, failed: 0 })
            }
            Self::EndToEnd => {
                let mut count = Count::default();
                if options.kubeconfig.is_none() {
                    rocketmart_harness::node::survives_a_crash_and_leaves_nothing()?;
                    count.passed += 1;
                }
                demo::run(options)?;
                count.passed += 1;
                count += against_the_deployed(programs, options)?;
                Ok(count)
            }
            Self::Deployed => against_the_deployed(programs, options),
        }
    }
}

/// How many tests a tier executed.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    passed: u32,
    failed: u32,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Runs tiers, by their names; what follows these are the demo's options.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = arguments.iter().position(|argument| argument.starts_with("--"));
    let (names, options) = arguments.split_at(options.unwrap_or(arguments.len()));
    let (tiers, options) = (chosen(names)?, demo::Options::parse(options)?);
    prepare::for_tests()?;
    let programs = Programs::build_with_tests()?;
    let mut total = Count::default();
    let mut lines = Vec::new();
    for tier in tiers {
        println!("\n== {}: {}", tier.name(), tier.about());
        let started = Instant::now();
        let (count, trouble) = match tier.run(&programs, &options) {
            Ok(count) if count.passed + count.failed == 0 => {
                (Count { passed: 0, failed: 1 }, Some("no test was executed".to_owned()))
            }
            Ok(count) => (count, None),
            Err(error) => (Count { passed: 0, failed: 1 }, Some(format!("{error:#}"))),
        };
        let seconds = started.elapsed().as_secs();
        lines.push(format!(
            "{:<10}{:>5} passed, {:>3} failed  {seconds:>4} s",
            tier.name(),
            count.passed,
            count.failed
        ));
        if let Some(trouble) = trouble {
            println!("\n{}: {trouble}", tier.name());
            lines.push(format!("          {}", trouble.lines().next().unwrap_or_default()));
        }
        total += count;
    }
    println!("\n== summary");
    for line in lines {
        println!("{line}");
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed > 0 {
        bail!("tests failed");
    }
    Ok(())
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

/// Runs test executables one after the other: each of them uses both cores by itself, or as many tests at once
/// as `at_once` says.
fn run_all<'a>(executables: impl Iterator<Item = &'a Executable>, at_once: Option<&str>) -> Result<Count> {
    let mut count = Count::default();
    for executable in executables {
        println!("\n-- {} ({})", executable.package, executable.name);
        count += run_one(executable, at_once)?;
    }
    Ok(count)
}

/// What is asked of a shop on a cluster.
fn against_the_deployed(programs: &Programs, options: &demo::Options) -> Result<Count> {
    println!("\n-- the deployed shop");
    let shop = Deployed::find(options)?;
    shop.helm_test()?;
    let mut count = Count { passed: 1, failed: 0 };
    // What stops components comes last.
    for name in [ROWS, ON_A_CLUSTER] {
        let mut tests = programs.tests(Kind::IntegrationTests);
        let tests = tests.find(|test| test.package == SHOP && test.name == name);
        let executable = tests.with_context(|| format!("{SHOP} has no tests `{name}`"))?;
        count += execute(&mut shop.tests(executable), SHOP)?;
    }
    shop.forget_sales()?;
    Ok(count)
}

/// Runs a test executable.
fn run_one(executable: &Executable, at_once: Option<&str>) -> Result<Count> {
    let mut command = Command::new(&executable.path);
    command.current_dir(&executable.folder).args(at_once);
    execute(&mut command, &executable.package)
}

/// Runs tests of a package, passes their output on and reads their result line.
fn execute(command: &mut Command, package: &str) -> Result<Count> {
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("starting the tests of {package}"))?;
    let mut count = None;
    let output = child.stdout.take().context("a test without output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        if let Some(result) = line.strip_prefix("test result: ") {
            count = Some(counted(result));
        }
    }
    let status = child.wait()?;
    let count = count.with_context(|| format!("{package} ended with {status} and no result"))?;
    if !status.success() && count.failed == 0 {
        bail!("{package} ended with {status}");
    }
    Ok(count)
}

/// Reads `ok. 4 passed; 0 failed; 1 ignored; …`. An ignored test has not passed, so it counts as failed.
fn counted(result: &str) -> Count {
    let number = |what: &str| {
        result
            .split([';', '.'])
            .find_map(|part| part.trim().strip_suffix(what)?.trim().parse::<u32>().ok())
            .unwrap_or_default()
    };
    Count { passed: number("passed"), failed: number("failed") + number("ignored") }
}

#[cfg(test)]
mod unit {
    use super::counted;

    #[test]
    fn an_ignored_test_counts_as_failed() {
        let count =
            counted("ok. 4 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 27.61s");
        assert_eq!((count.passed, count.failed), (4, 1));
    }
}
