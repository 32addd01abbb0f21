//! The machine that was measured: figures mean nothing without it.

use std::fs;
use std::process::Command;

use rocketmart_harness::checkout;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) measured_at: String,
    pub(crate) commit: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    /// Name and version.
    pub(crate) versions: Vec<(String, String)>,
    /// The command that was run.
    pub(crate) command: String,
}

impl Machine {
    pub(crate) fn look(command: String) -> Self {
        let versions = [
            ("Rust", first_line("rustc", &["--version"])),
            ("Redis", first_line("redis-server", &["--version"])),
            ("PostgreSQL", first_line("psql", &["--version"])),
            ("Java (Kafka)", first_line("java", &["--version"])),
        ];
        Self {
            measured_at: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            commit: checkout::commit(),
            processor: field("/proc/cpuinfo", "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_gib: memory_gib(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            versions: versions.into_iter().map(|(name, version)| (name.to_owned(), version)).collect(),
            command,
        }
    }
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").trim().to_owned()
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory_gib() -> u64 {
    let total = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    total.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() >> 20
}
