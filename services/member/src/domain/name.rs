//! The name that a member goes by.

use rocketmart_kit::text::Text;

use super::RuleBroken;

/// In characters, not bytes.
const MAX_LENGTH: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn parse(given: &str) -> Result<Self, RuleBroken> {
        let kept = Text::line(MAX_LENGTH).kept(given);
        kept.map(Self).map_err(|(rule, detail)| RuleBroken::new(rule, detail))
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
        for (given, rule) in [
            ("  ", "min-length"),
            (long.as_str(), "max-length"),
            ("a\0b", "no-control-characters"),
            // M10
            ("\u{200b}\u{2800}", "visible"),
            ("a\u{202e}b", "no-bidi-controls"),
        ] {
            assert_eq!(Name::parse(given).map_err(|broken| broken.rule), Err(rule));
        }
    }
}
