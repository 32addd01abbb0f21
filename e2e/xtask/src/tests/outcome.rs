//! The results of tests, read from what their executable prints.
//!
//! The summary repeats why a test failed: of a long output, often only the end survives.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// How many lines of a failed test's output the summary repeats.
const TOLD_AGAIN: usize = 40;

/// The exit code of `timeout` when it had to stop the program.
const TIMED_OUT: i32 = 124;

/// How many tests were executed, and what the failed ones printed.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) passed: u32,
    pub(super) failed: u32,
    pub(super) failures: Vec<Failure>,
}

impl Outcome {
    /// The outcome of a single check that passed.
    pub(super) fn passed() -> Self {
        Self { passed: 1, ..Self::default() }
    }

    /// The outcome of a single check that may have failed.
    pub(super) fn of(name: &str, checked: Result<()>) -> Self {
        match checked {
            Ok(()) => Self::passed(),
            Err(error) => Self::failed(name, &format!("{error:#}")),
        }
    }

    /// The outcome of a single check that found `trouble`.
    pub(super) fn failed(of: &str, trouble: &str) -> Self {
        println!("\n{of}: {trouble}");
        let mut failure = Failure::new(of);
        trouble.lines().for_each(|line| failure.add(line));
        Self { failed: 1, failures: vec![failure], ..Self::default() }
    }
}

impl std::ops::AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.failures.extend(other.failures);
    }
}

/// A failed test and the end of what it printed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) test: String,
    pub(super) output: VecDeque<String>,
}

impl Failure {
    fn new(test: &str) -> Self {
        Self { test: test.to_owned(), output: VecDeque::new() }
    }

    fn add(&mut self, line: &str) {
        if self.output.len() == TOLD_AGAIN {
            self.output.pop_front();
        }
        self.output.push_back(line.to_owned());
    }
}

/// Runs tests of a package, passes their output on and reads their results. An executable that crashes is one
/// failure; the others still run.
pub(super) fn execute(command: &mut Command, package: &str) -> Outcome {
    let read = read_from(command, package, |line| println!("{line}"));
    read.unwrap_or_else(|error| Outcome::failed(package, &format!("{error:#}")))
}

/// Runs tests of a package and reads their results; what they print goes to `tell`, line by line.
pub(super) fn read_from(command: &mut Command, package: &str, mut tell: impl FnMut(&str)) -> Result<Outcome> {
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("starting the tests of {package}"))?;
    let mut reader = Reader::of(package);
    let output = child.stdout.take().context("a test without output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        tell(&line);
        reader.read(&line);
    }
    let status = child.wait()?;
    if status.code() == Some(TIMED_OUT) {
        bail!("{package} did not end within its time");
    }
    if !reader.ended {
        bail!("{package} ended with {status} and no result");
    }
    if !status.success() && reader.outcome.failed == 0 {
        bail!("{package} ended with {status}");
    }
    Ok(reader.outcome)
}

/// Reads what Rust's test library prints.
struct Reader<'a> {
    package: &'a str,
    outcome: Outcome,
    part: Part,
    ended: bool,
}

/// Where in the output the reader is. The library heads two parts with `failures:`, first what the failed tests
/// printed, then their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Running,
    Printed,
    Names,
}

impl<'a> Reader<'a> {
    fn of(package: &'a str) -> Self {
        Self { package, outcome: Outcome::default(), part: Part::Running, ended: false }
    }

    fn read(&mut self, line: &str) {
        let printed = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"));
        if let Some(test) = printed {
            self.outcome.failures.push(Failure::new(&self.named(test)));
        } else if line == "failures:" {
            self.part = if self.part == Part::Running { Part::Printed } else { Part::Names };
        } else if let Some(result) = line.strip_prefix("test result: ") {
            (self.outcome.passed, self.outcome.failed) = counted(result);
            self.ended = true;
        } else if self.part == Part::Names {
            // Anything else printed there, such as the log of a task that still runs, is not indented.
            if let Some(test) = line.strip_prefix("    ") {
                self.complete(test);
            }
        } else if self.part == Part::Printed
            && let Some(failure) = self.outcome.failures.last_mut()
        {
            failure.add(line);
        }
    }

    /// Only the list of names tells of some tests: those that printed nothing, and those whose heading came
    /// in the middle of a line that a program of theirs printed.
    fn complete(&mut self, test: &str) {
        let name = self.named(test);
        if !self.outcome.failures.iter().any(|failure| failure.test == name) {
            self.outcome.failures.push(Failure::new(&name));
        }
    }

    fn named(&self, test: &str) -> String {
        format!("{}: {test}", self.package)
    }
}

/// Reads how many passed and failed from `ok. 4 passed; 0 failed; 1 ignored; …`. An ignored test has not
/// passed, so it counts as failed.
fn counted(result: &str) -> (u32, u32) {
    let number = |what: &str| {
        result
            .split([';', '.'])
            .find_map(|part| part.trim().strip_suffix(what)?.trim().parse::<u32>().ok())
            .unwrap_or_default()
    };
    (number("passed"), number("failed") + number("ignored"))
}

#[cfg(test)]
mod unit {
    use std::process::Command;

    use super::{Reader, counted, execute};

    #[test]
    fn an_ignored_test_counts_as_failed() {
        let count =
            counted("ok. 4 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 27.61s");
        assert_eq!(count, (4, 1));
    }

    #[test]
    fn an_executable_that_crashes_is_one_failure_with_its_reason() {
        let outcome = execute(Command::new("sh").args(["-c", "echo 'running 2 tests'; kill -9 $$"]), "shop");
        assert_eq!((outcome.passed, outcome.failed), (0, 1));
        assert_eq!(outcome.failures[0].output, ["shop ended with signal: 9 (SIGKILL) and no result"]);
    }

    #[test]
    fn a_failed_test_that_printed_nothing_is_named() {
        let printed = "running 1 test\ntest one ... FAILED\n\nfailures:\n\nfailures:\n    one\n{\"a\": \"log\"}\n\n\
                       test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n";
        let mut reader = Reader::of("shop");
        printed.lines().for_each(|line| reader.read(line));
        let tests: Vec<_> = reader.outcome.failures.iter().map(|failure| failure.test.as_str()).collect();
        assert_eq!(tests, ["shop: one"]);
    }

    #[test]
    fn of_a_failed_test_the_end_of_what_it_printed_is_kept() {
        let long = "a line\n".repeat(100);
        let printed = format!(
            "running 3 tests\ntest one ... FAILED\ntest two ... FAILED\ntest three ... ok\n\nfailures:\n\n\
             ---- one stdout ----\n{long}the reason\n\n---- two stdout ----\nanother\n\n\nfailures:\n    one\n    two\n\n\
             test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n"
        );
        let mut reader = Reader::of("shop");
        printed.lines().for_each(|line| reader.read(line));
        assert!(reader.ended);
        let outcome = reader.outcome;
        assert_eq!((outcome.passed, outcome.failed), (1, 2));
        let tests: Vec<_> = outcome.failures.iter().map(|failure| failure.test.as_str()).collect();
        assert_eq!(tests, ["shop: one", "shop: two"]);
        assert_eq!(outcome.failures[0].output.len(), super::TOLD_AGAIN);
        assert_eq!(outcome.failures[0].output[super::TOLD_AGAIN - 2], "the reason");
        assert_eq!(outcome.failures[1].output, ["another", "", ""]);
    }
}
