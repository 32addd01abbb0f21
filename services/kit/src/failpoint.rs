//! Mistakes and crashes on purpose, for `cargo xtask faults`; without the feature `faults` none of this
//! is in a program.
//!
//! `ROCKETMART_FAILPOINT=<place>=<chance>` ends the process, as SIGKILL would, when it comes by the
//! place, each time with that chance. `ROCKETMART_BUG=<name>` brings back a mistake that the faults must
//! catch: a check that finds nothing has to be able to find something.

/// Between the SQL commit of a batch and the commit of its offsets.
pub const BEFORE_OFFSET_COMMIT: &str = "before-offset-commit";
/// Before a batch is handed to its handler.
pub const BEFORE_HANDLING: &str = "before-handling";
/// The mistake of committing offsets before what they stand for is in SQL.
pub const OFFSETS_FIRST: &str = "offsets-first";

/// Ends the process here if a test wants that.
#[cfg_attr(not(feature = "faults"), expect(unused, reason = "does nothing without the feature"))]
pub fn reach(place: &str) {
    #[cfg(feature = "faults")]
    if let Some((wanted, chance)) = std::env::var("ROCKETMART_FAILPOINT").ok().as_deref().and_then(parse)
        && wanted == place
        && rand::random_bool(chance)
    {
        tracing::warn!(place, "dying on purpose");
        std::process::abort();
    }
}

/// Whether a test wants this mistake back.
#[cfg_attr(not(feature = "faults"), expect(unused, reason = "there are none without the feature"))]
pub fn has_bug(name: &str) -> bool {
    #[cfg(feature = "faults")]
    return std::env::var("ROCKETMART_BUG").is_ok_and(|bug| bug == name);
    #[cfg(not(feature = "faults"))]
    false
}

#[cfg(any(feature = "faults", test))]
fn parse(setting: &str) -> Option<(&str, f64)> {
    let (place, chance) = setting.split_once('=')?;
    Some((place, chance.parse().ok().filter(|chance| (0.0..=1.0).contains(chance))?))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_setting_is_a_place_and_a_chance() {
        assert_eq!(parse("before-handling=0.25"), Some(("before-handling", 0.25)));
        assert_eq!(parse("before-handling=2"), None);
        assert_eq!(parse("before-handling"), None);
    }
}
