//! Who uses the processor and the memory, from `/proc` before and after.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::time::Instant;

use anyhow::{Context as _, Result};

/// The kernel's unit of processor time, the same on every machine.
const TICKS_PER_SECOND: f64 = 100.0;
const MEBIBYTE: f64 = 1024.0;

/// The generator's name: it is this very process.
pub(crate) const GENERATOR: &str = "generator";

/// The processor time that each process has used so far.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    at: Instant,
    seconds: BTreeMap<String, f64>,
}

/// Processes by name. Their children count with them: PostgreSQL has one per connection.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    processes: Vec<(String, u32)>,
}

/// Cores used by each process between two readings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Usage {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: BTreeMap<String, f64>,
}

impl Usage {
    /// Microseconds of processor time per event, by process.
    pub(crate) fn per_event_us(&self, events: f64) -> BTreeMap<String, f64> {
        self.cpu_seconds.iter().map(|(name, used)| (name.clone(), used * 1e6 / events.max(1.0))).collect()
    }

    /// Share of the machine's time, by process.
    pub(crate) fn cores(&self) -> BTreeMap<String, f64> {
        self.cpu_seconds.iter().map(|(name, used)| (name.clone(), used / self.seconds)).collect()
    }
}

impl Meter {
    pub(crate) fn new(mut processes: Vec<(String, u32)>) -> Self {
        processes.push((GENERATOR.to_owned(), std::process::id()));
        Self { processes }
    }

    pub(crate) fn read(&self) -> Result<Reading> {
        let table = Table::read()?;
        let seconds = self.processes.iter().map(|(name, pid)| (name.clone(), table.used_by(*pid))).collect();
        Ok(Reading { at: Instant::now(), seconds })
    }

    /// The memory of each process now, in MiB: what it has to itself, plus its share of shared memory.
    pub(crate) fn memory(&self) -> Result<BTreeMap<String, f64>> {
        let table = Table::read()?;
        let of =
            |pid: u32| table.family(pid).into_iter().filter_map(proportional_kib).sum::<f64>() / MEBIBYTE;
        Ok(self
            .processes
            .iter()
            .filter(|(name, _)| name != GENERATOR)
            .map(|(name, pid)| (name.clone(), of(*pid)))
            .collect())
    }
}

impl Reading {
    pub(crate) fn since(&self, before: &Self) -> Usage {
        let used = |(name, now): (&String, &f64)| {
            (name.clone(), (now - before.seconds.get(name).copied().unwrap_or_default()).max(0.0))
        };
        Usage {
            seconds: self.at.duration_since(before.at).as_secs_f64(),
            cpu_seconds: self.seconds.iter().map(used).collect(),
        }
    }
}

/// All processes of the machine.
struct Table {
    /// Parent and ticks, including those of ended children.
    rows: HashMap<u32, (u32, u64)>,
}

impl Table {
    fn read() -> Result<Self> {
        let mut rows = HashMap::new();
        for entry in fs::read_dir("/proc").context("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A process that has ended meanwhile is no longer there.
            if let Some(row) = fs::read_to_string(entry.path().join("stat")).ok().as_deref().and_then(parse) {
                rows.insert(pid, row);
            }
        }
        Ok(Self { rows })
    }

    /// A process with its children. Without this process among them, because those are listed on their own.
    fn family(&self, pid: u32) -> Vec<u32> {
        let mut family = vec![pid];
        if pid != std::process::id() {
            family
                .extend(self.rows.iter().filter(|(_, (parent, _))| *parent == pid).map(|(child, _)| *child));
        }
        family
    }

    #[expect(clippy::cast_precision_loss, reason = "ticks of a benchmark are far below 2^52")]
    fn used_by(&self, pid: u32) -> f64 {
        let ticks =
            self.family(pid).into_iter().filter_map(|pid| self.rows.get(&pid)).map(|(_, ticks)| ticks);
        ticks.sum::<u64>() as f64 / TICKS_PER_SECOND
    }
}

/// Parent and used ticks from `/proc/<pid>/stat`. The name in parentheses may contain anything.
fn parse(stat: &str) -> Option<(u32, u64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let parent = u32::try_from(number(1)?).ok()?;
    Some((parent, number(11)? + number(12)?))
}

fn proportional_kib(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat_is_read_though_the_name_holds_spaces_and_parentheses() {
        let stat = "42 (a (b) c) S 7 42 42 0 -1 0 1 2 3 4 150 50 1 1 20 0 1 0 5";
        assert_eq!(parse(stat), Some((7, 200)));
    }

    #[test]
    fn this_process_uses_time_and_memory() -> Result<()> {
        let meter = Meter::new(vec![("self".to_owned(), std::process::id())]);
        let before = meter.read()?;
        let begun = Instant::now();
        let mut sum = 0_u64;
        while begun.elapsed().as_millis() < 60 {
            sum = sum.wrapping_add(std::hint::black_box(begun.elapsed().subsec_nanos().into()));
        }
        let usage = meter.read()?.since(&before);
        assert!(usage.cpu_seconds[GENERATOR] > 0.0, "{sum}: {usage:?}");
        assert!(meter.memory()?["self"] > 0.0);
        Ok(())
    }
}
