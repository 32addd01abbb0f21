//! What a member may keep as a payment method: a token of the provider, never a card number.

use rocketmart_kit::problem::FieldError;
use rocketmart_kit::text::Text;

/// A member keeps at most this many.
pub const MOST_PER_MEMBER: i64 = 20;

const LONGEST_TOKEN: usize = 128;
const LABEL: Text = Text::line(64);

/// The label of a new method in the form to store it, `None` without one; or every rule that the method
/// breaks.
pub fn check(provider_token: &str, label: Option<&str>) -> Result<Option<String>, Vec<FieldError>> {
    let mut broken = Vec::new();
    let is_token = provider_token.strip_prefix("tok_").is_some_and(|rest| {
        !rest.is_empty()
            && provider_token.len() <= LONGEST_TOKEN
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    });
    if !is_token {
        let detail = "must be a token of the payment provider: tok_ and up to 124 letters, digits or _";
        broken.push(FieldError::new("provider_token", "provider-token", detail));
    }
    let label = LABEL.check_optional("label", label).unwrap_or_else(|error| {
        broken.push(error);
        None
    });
    if label.as_deref().is_some_and(|label| longest_digit_run(label) >= 12) {
        let detail = "must not contain a card number; the last four digits are enough";
        broken.push(FieldError::new("label", "no-card-number", detail));
    }
    if broken.is_empty() { Ok(label) } else { Err(broken) }
}

/// The longest row of digits, ignoring what people write between groups of them.
fn longest_digit_run(text: &str) -> usize {
    let (mut longest, mut run) = (0, 0);
    for character in text.chars().filter(|c| !matches!(c, ' ' | '-' | '.')) {
        run = if character.is_numeric() { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(provider_token: &str, label: Option<&str>) -> Vec<String> {
        check(provider_token, label).unwrap_err().into_iter().map(|error| error.rule).collect()
    }

    #[test]
    fn a_token_and_a_short_label_are_fine() {
        assert_eq!(check("tok_4f2a", Some(" Visa 4242 ")), Ok(Some("Visa 4242".to_owned())));
        assert_eq!(check("tok_declined_1", None), Ok(None));
        assert_eq!(check("tok_4f2a", Some("")), Ok(None));
    }

    #[test]
    fn every_broken_rule_is_told() {
        assert_eq!(rules("4242424242424242", None), ["provider-token"]);
        assert_eq!(rules("tok_", None), ["provider-token"]);
        assert_eq!(rules("tok_a b", Some("a\nb")), ["provider-token", "no-control-characters"]);
        assert_eq!(rules("tok_a", Some(&"x".repeat(65))), ["max-length"]);
        assert_eq!(rules("tok_a", Some("my 4242 4242-4242 4242")), ["no-card-number"]);
        assert_eq!(rules("tok_a", Some("\u{3164}")), ["visible"], "M10");
    }
}
