//! Test executables run side by side: their tests wait for servers, deadlines and Kafka most of the time.
//!
//! ```text
//! executables, the slowest of last time first ──▶ up to N at once ──▶ what each prints: a file of its own
//!                                                       └──▶ a line when it ends, its seconds in a record
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use rocketmart_harness::{cache, programs::Executable, record, step};
use serde_json::json;

use super::outcome::{Outcome, read_from};

/// Tells sweeps to try everything instead of a part.
const LONG: &str = "LONG_TESTS";
/// What test executables print, one file each.
const LOGS: &str = "target/tests";
/// A suite that takes longer hangs: the slowest takes about four minutes. A suite that tries everything gets
/// six times as long.
const LIMIT: &str = "900";
const LONG_LIMIT: &str = "5400";

/// A test executable, and how many of its tests run at once; by default one per core.
pub(super) struct Suite<'a> {
    pub(super) executable: &'a Executable,
    pub(super) tests_at_once: Option<u8>,
}

impl Suite<'_> {
    fn name(&self) -> String {
        format!("{}/{}", self.executable.package, self.executable.name)
    }

    fn log(&self) -> PathBuf {
        // Libraries and programs have unit tests of the same name.
        let path = self.executable.path.file_name().unwrap_or_default();
        Path::new(LOGS).join(&self.executable.package).join(path).with_extension("log")
    }

    fn command(&self, environment: &[(&'static str, String)]) -> Command {
        let long = environment.iter().any(|(name, _)| *name == LONG);
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=10", if long { LONG_LIMIT } else { LIMIT }])
            .arg(&self.executable.path)
            .current_dir(&self.executable.folder)
            .args(self.tests_at_once.map(|count| format!("--test-threads={count}")))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            // Show why a test failed, not the frames of the runtime below it.
            .env("RUST_BACKTRACE", "0");
        command
    }
}

/// The environment of every suite of a run.
pub(super) struct Surroundings {
    environment: Vec<(&'static str, String)>,
}

impl Surroundings {
    /// `long`: sweeps try everything. `servers`: those that tests share.
    pub(super) fn new(long: bool, servers: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let mut environment: Vec<_> = servers.into_iter().collect();
        environment.extend(long.then(|| (LONG, "1".to_owned())));
        Self { environment }
    }

    /// Runs all suites, `at_once` of them at the same time.
    pub(super) fn run(&self, mut suites: Vec<Suite<'_>>, at_once: usize) -> Outcome {
        let record = cache::root().join("test-seconds.jsonl");
        let before = seconds_before(&record);
        suites.sort_by_key(|suite| std::cmp::Reverse(before.get(&suite.name()).copied().unwrap_or(u64::MAX)));
        let queue = Mutex::new(VecDeque::from(suites));
        let total = Mutex::new(Outcome::default());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    while let Some(suite) = next() {
                        let started = Instant::now();
                        let outcome = self.one(&suite);
                        let seconds = started.elapsed().as_secs();
                        println!(
                            "{seconds:>5} s  {:<40}{:>4} passed, {} failed",
                            suite.name(),
                            outcome.passed,
                            outcome.failed
                        );
                        remember(&record, &suite.name(), seconds);
                        *total.lock().unwrap_or_else(PoisonError::into_inner) += outcome;
                    }
                });
            }
        });
        total.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn one(&self, suite: &Suite<'_>) -> Outcome {
        let ran = created(&suite.log()).and_then(|(mut out, err)| {
            let mut command = suite.command(&self.environment);
            command.stderr(err);
            read_from(&mut command, &suite.executable.package, |line| {
                let _ = writeln!(out, "{line}");
            })
        });
        // If the suite hung, its log says which tests had begun and not ended.
        ran.unwrap_or_else(|error| {
            Outcome::failed(&suite.name(), &format!("{error:#}\n{}", step::tail(&suite.log())))
        })
    }
}

/// A new file for both outputs of a process. Both append, so neither overwrites the other.
fn created(log: &Path) -> Result<(File, File)> {
    let folder = log.parent().context("a log in no folder")?;
    fs::create_dir_all(folder)?;
    File::create(log)?;
    let out = File::options().append(true).open(log)?;
    Ok((out.try_clone()?, out))
}

/// How long each suite took the last time it ran on this machine.
fn seconds_before(record: &Path) -> BTreeMap<String, u64> {
    let lines = record::read(record).unwrap_or_default();
    let line =
        |line: &serde_json::Value| Some((line["suite"].as_str()?.to_owned(), line["seconds"].as_u64()?));
    lines.iter().filter_map(line).collect()
}

/// Records the time, so that growth shows. A record that cannot be written fails no test.
fn remember(record: &Path, suite: &str, seconds: u64) {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default();
    let line = json!({ "at": at, "suite": suite, "seconds": seconds });
    if let Err(error) = record::append(record, &line) {
        println!("not recorded: {error:#}");
    }
}
