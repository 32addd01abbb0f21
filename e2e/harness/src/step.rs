//! Progress that a person can follow: one line per step, with the time it took.
//!
//! A step either prints `… done (3.2 s)`, or fails with the end of the log that explains why.

use std::{
    fs,
    io::Write as _,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How many lines of a log are shown when a step fails.
const LOG_LINES_ON_FAILURE: usize = 30;

/// The steps that this process has finished.
static DONE: Mutex<Vec<(String, Duration)>> = Mutex::new(Vec::new());

/// The `count` longest steps of this process, longest first.
pub fn longest(count: usize) -> Vec<(String, Duration)> {
    let mut steps = DONE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    steps.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
    steps.truncate(count);
    steps
}

/// Runs `work`, prints what it does and how long it took.
pub fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    println!("  {what} …");
    let outcome = work();
    let took = started.elapsed();
    let seconds = took.as_secs_f64();
    DONE.lock().unwrap_or_else(PoisonError::into_inner).push((what.to_owned(), took));
    match &outcome {
        Ok(_) => println!("  {what}: done ({seconds:.1} s)"),
        Err(_) => println!("  {what}: FAILED after {seconds:.1} s"),
    }
    let _ = std::io::stdout().flush();
    outcome.with_context(|| what.to_owned())
}

/// Waits at most `limit` until `ready` returns true. The error says what it waited for.
pub fn wait_until(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !ready() {
        if Instant::now() >= deadline {
            bail!("waited {} s for {what}", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The end of a log, indented, for an error message.
pub fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_LINES_ON_FAILURE);
    let mut shown = format!("the end of {}:", log.display());
    for line in &lines[from..] {
        shown.push_str("\n    ");
        shown.push_str(line);
    }
    shown
}
