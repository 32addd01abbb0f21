//! Places where a test may kill the process, and bugs that a test may bring back, for `cargo xtask faults`. A
//! check that finds nothing must prove that it can find something.
//!
//! The program `rocketmart-with-faults` decides what happens at these places. In the program that we ship,
//! nothing does.

use std::sync::OnceLock;

/// Between the SQL commit of a batch and the commit of its offsets.
pub const BEFORE_OFFSET_COMMIT: &str = "before-offset-commit";
/// Before a batch is handed to its handler.
pub const BEFORE_HANDLING: &str = "before-handling";
/// The bug of committing offsets before the batch they stand for is in SQL.
pub const OFFSETS_FIRST: &str = "offsets-first";

static SABOTAGE: OnceLock<Sabotage> = OnceLock::new();

/// What a test does to the process.
#[derive(Clone, Copy, Debug)]
pub struct Sabotage {
    /// Called with the name of each place that the process reaches.
    pub reach: fn(&str),
    /// Whether to bring a bug back.
    pub has_bug: fn(&str) -> bool,
}

/// Applies from now on, for good.
pub fn install(sabotage: Sabotage) {
    // Installing a second one would be a mistake in the test.
    let _ = SABOTAGE.set(sabotage);
}

/// Kills the process here if a test asks for it.
pub fn reach(place: &str) {
    if let Some(sabotage) = SABOTAGE.get() {
        (sabotage.reach)(place);
    }
}

/// Whether a test asks for this bug.
pub fn has_bug(name: &str) -> bool {
    SABOTAGE.get().is_some_and(|sabotage| (sabotage.has_bug)(name))
}
