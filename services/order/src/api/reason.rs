//! Reasons in the buyer's words. We keep the text and show it again.

use rocketmart_kit::problem::FieldError;
use rocketmart_kit::text::Text;

const REASON: Text = Text::lines(500);

/// The reason as we keep it, or the rule that it breaks.
pub(super) fn given(reason: &str) -> Result<String, FieldError> {
    REASON.check("reason", reason)
}

/// The same for a reason that may be missing or empty.
pub(super) fn optional(reason: Option<&str>) -> Result<Option<String>, FieldError> {
    REASON.check_optional("reason", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_may_have_lines_but_neither_nul_nor_a_novel() {
        let rule = |reason: &str| given(reason).err().map(|error| error.rule);
        assert_eq!(rule("too small,\nand blue"), None);
        assert_eq!(rule("a\0b").as_deref(), Some("no-control-characters"));
        assert_eq!(rule(&"x".repeat(501)).as_deref(), Some("max-length"));
        assert_eq!(rule(" ").as_deref(), Some("min-length"));
        assert_eq!(rule("\u{2800}").as_deref(), Some("visible"), "M10");
        assert_eq!(optional(Some("")), Ok(None));
        assert_eq!(optional(Some("\u{202e}")).unwrap_err().rule, "no-bidi-controls", "M10");
    }
}
