//! Places where a test may end the process, and mistakes it may bring back, for `cargo xtask faults`: a check that
//! finds nothing has to be able to find something.
//!
//! The program `rocketmart-with-faults` says what happens there; in the one that is shipped nothing does.

use std::sync::OnceLock;

/// Between the SQL commit of a batch and the commit of its offsets.
pub const BEFORE_OFFSET_COMMIT: &str = "before-offset-commit";
/// Before a batch is handed to its handler.
pub const BEFORE_HANDLING: &str = "before-handling";
/// The mistake of committing offsets before what they stand for is in SQL.
pub const OFFSETS_FIRST: &str = "offsets-first";

static SABOTAGE: OnceLock<Sabotage> = OnceLock::new();

/// What a test makes of the process.
#[derive(Clone, Copy, Debug)]
pub struct Sabotage {
    /// Called with the name of each place the process comes by.
    pub reach: fn(&str),
    /// Whether a mistake is to be made.
    pub has_bug: fn(&str) -> bool,
}

/// From now on, for good.
pub fn install(sabotage: Sabotage) {
    // A second one would be a mistake of the test's.
    let _ = SABOTAGE.set(sabotage);
}

/// Ends the process here if a test wants that.
pub fn reach(place: &str) {
    if let Some(sabotage) = SABOTAGE.get() {
        (sabotage.reach)(place);
    }
}

/// Whether a test wants this mistake back.
pub fn has_bug(name: &str) -> bool {
    SABOTAGE.get().is_some_and(|sabotage| (sabotage.has_bug)(name))
}
