//! How much memory a process uses, and its peak.

use std::fs;

/// Bytes in memory now.
pub(super) fn resident(process: u32) -> u64 {
    bytes(process, "VmRSS:")
}

/// The peak in bytes since [`forget_peak`].
pub(super) fn peak(process: u32) -> u64 {
    bytes(process, "VmHWM:")
}

/// Resets the peak to what is in memory now.
pub(super) fn forget_peak(process: u32) {
    fs::write(format!("/proc/{process}/clear_refs"), "5").expect("a process of ours");
}

fn bytes(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(name)).expect("every process has it");
    let kibibytes: u64 =
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
    kibibytes * 1024
}
