//! What a member may keep as a payment method: a token of the provider, never a card number.

use thiserror::Error;

/// A member keeps at most this many.
pub const MOST_PER_MEMBER: i64 = 20;

const LONGEST_TOKEN: usize = 128;
const LONGEST_LABEL: usize = 64;

/// A rule a new method breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MethodError {
    #[error("must be a token of the payment provider: tok_ and up to 124 letters, digits or _")]
    NotAToken,
    #[error("must have 1 to 64 characters, none of them a control character")]
    LabelLength,
    #[error("must not contain a card number; the last four digits are enough")]
    CardNumberInLabel,
}

impl MethodError {
    pub fn field(self) -> &'static str {
        match self {
            Self::NotAToken => "provider_token",
            Self::LabelLength | Self::CardNumberInLabel => "label",
        }
    }

    pub fn rule(self) -> &'static str {
        match self {
            Self::NotAToken => "provider-token",
            Self::LabelLength => "length",
            Self::CardNumberInLabel => "no-card-number",
        }
    }
}

/// Every rule the given method breaks.
pub fn check(provider_token: &str, label: Option<&str>) -> Vec<MethodError> {
    let mut broken = Vec::new();
    let is_token = provider_token.strip_prefix("tok_").is_some_and(|rest| {
        !rest.is_empty()
            && provider_token.len() <= LONGEST_TOKEN
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    });
    if !is_token {
        broken.push(MethodError::NotAToken);
    }
    if let Some(label) = label {
        let length = label.chars().count();
        if !(1..=LONGEST_LABEL).contains(&length) || label.chars().any(char::is_control) {
            broken.push(MethodError::LabelLength);
        }
        if longest_digit_run(label) >= 12 {
            broken.push(MethodError::CardNumberInLabel);
        }
    }
    broken
}

/// Digits in a row, not counting what people write between groups of them.
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

    #[test]
    fn a_token_and_a_short_label_are_fine() {
        assert_eq!(check("tok_4f2a", Some("Visa 4242")), []);
        assert_eq!(check("tok_declined_1", None), []);
    }

    #[test]
    fn every_broken_rule_is_told() {
        assert_eq!(check("4242424242424242", None), [MethodError::NotAToken]);
        assert_eq!(check("tok_", None), [MethodError::NotAToken]);
        assert_eq!(check("tok_a b", Some("")), [MethodError::NotAToken, MethodError::LabelLength]);
        assert_eq!(check("tok_a", Some(&"x".repeat(65))), [MethodError::LabelLength]);
        assert_eq!(check("tok_a", Some("my 4242 4242-4242 4242")), [MethodError::CardNumberInLabel]);
    }
}
