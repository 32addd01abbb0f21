//! Why, in the buyer's words: the rules for a text that is kept and shown again.

use rocketmart_kit::problem::FieldError;

/// Longest reason, in characters.
const LIMIT: usize = 500;

/// What is wrong with a reason of at least so many characters, if anything.
pub(super) fn broken(reason: &str, least: usize) -> Option<FieldError> {
    let error = |rule: &str, detail: String| Some(FieldError::new("reason", rule, detail));
    if !(least..=LIMIT).contains(&reason.trim().chars().count()) {
        return error("length", format!("must have {least} to {LIMIT} characters"));
    }
    // PostgreSQL keeps no NUL, and nobody reads the others.
    if reason.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return error("no-control-characters", "must not contain control characters".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::broken;

    #[test]
    fn a_reason_may_have_lines_but_neither_nul_nor_a_novel() {
        let rule = |reason: &str| broken(reason, 1).map(|error| error.rule);
        assert_eq!(rule("too small,\nand blue"), None);
        assert_eq!(rule("a\0b").as_deref(), Some("no-control-characters"));
        assert_eq!(rule(&"x".repeat(501)).as_deref(), Some("length"));
        assert_eq!(rule(" ").as_deref(), Some("length"));
        assert!(broken("", 0).is_none());
    }
}
