//! The name a member goes by.

use super::RuleBroken;

/// In characters, not bytes.
pub(crate) const MAX_LENGTH: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn parse(given: &str) -> Result<Self, RuleBroken> {
        let trimmed = given.trim();
        if trimmed.is_empty() {
            return Err(RuleBroken::new("min-length", "must not be empty"));
        }
        if trimmed.chars().count() > MAX_LENGTH {
            return Err(RuleBroken::new("max-length", format!("must be at most {MAX_LENGTH} characters")));
        }
        if trimmed.chars().any(char::is_control) {
            return Err(RuleBroken::new("no-control-characters", "must not contain control characters"));
        }
        Ok(Self(trimmed.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_script_are_taken_and_trimmed() {
        assert_eq!(Name::parse("  홍길동 ").unwrap().as_str(), "홍길동");
        assert!(Name::parse(&"가".repeat(MAX_LENGTH)).is_ok());
    }

    #[test]
    fn a_name_that_breaks_a_rule_says_which() {
        let long = "a".repeat(MAX_LENGTH + 1);
        for (given, rule) in
            [("  ", "min-length"), (long.as_str(), "max-length"), ("a\0b", "no-control-characters")]
        {
            assert_eq!(Name::parse(given).map_err(|broken| broken.rule), Err(rule));
        }
    }
}
