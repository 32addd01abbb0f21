//! Which passwords are taken: long enough, and not among those that are guessed first.
//!
//! Composition rules ("one digit, one capital") are left out on purpose: NIST SP 800-63B found that
//! they make passwords worse.

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use super::RuleBroken;
use super::email::EmailAddress;

/// In characters.
pub(crate) const MIN_LENGTH: usize = 10;
/// In characters; bounds the work of one hash.
pub(crate) const MAX_LENGTH: usize = 128;

static COMMON: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    include_str!("common_passwords.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
});

/// Rows a finger runs along.
const SEQUENCES: [&str; 6] = [
    "01234567890123456789",
    "98765432109876543210",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "1q2w3e4r5t6y7u8i9o0p",
];

/// A password as somebody typed it. `Debug` does not show it.
#[derive(Clone)]
pub(crate) struct Password(String);

impl Password {
    /// For checking against a hash; takes anything short enough to hash.
    pub(crate) fn given(given: String) -> Result<Self, RuleBroken> {
        if given.chars().count() > MAX_LENGTH {
            return Err(RuleBroken::new("max-length", format!("must be at most {MAX_LENGTH} characters")));
        }
        Ok(Self(given))
    }

    /// For keeping: must obey the rules. `owner` is unknown when a link stands for the member.
    pub(crate) fn chosen(given: String, owner: Option<&EmailAddress>) -> Result<Self, RuleBroken> {
        let password = Self::given(given)?;
        if password.0.chars().count() < MIN_LENGTH {
            return Err(RuleBroken::new("min-length", format!("must be at least {MIN_LENGTH} characters")));
        }
        if is_common(&password.0) || owner.is_some_and(|owner| is_derived(&password.0, owner)) {
            return Err(RuleBroken::new("common-password", "is among the passwords that are guessed first"));
        }
        Ok(password)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Looks through the disguises people use: case, a number or sign before or after, letters
/// written as digits, one word or one key again and again.
fn is_common(password: &str) -> bool {
    let lower = password.to_lowercase();
    let word = stem(&lower);
    let spelled: String = word.chars().map(unleet).collect();
    let spelled_whole: String = lower.chars().map(unleet).collect();
    [lower.as_str(), word, &spelled, stem(&spelled_whole)].into_iter().any(|form| {
        let unit = repeated_unit(form);
        COMMON.contains(form) || COMMON.contains(unit) || unit.chars().count() <= 3
    }) || SEQUENCES.iter().any(|sequence| sequence.contains(lower.as_str()))
}

fn is_derived(password: &str, owner: &EmailAddress) -> bool {
    let lower = password.to_lowercase();
    lower == owner.as_str() || stem(&lower) == stem(owner.mailbox())
}

/// Without the digits and signs around it.
fn stem(text: &str) -> &str {
    let stem = text.trim_matches(|c: char| !c.is_alphabetic());
    // All digits and signs: nothing is decoration.
    if stem.is_empty() { text } else { stem }
}

fn unleet(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

/// `abcabcabc` → `abc`; a text that repeats nothing is its own unit.
fn repeated_unit(text: &str) -> &str {
    (1..=text.len() / 2)
        .filter(|&length| text.len().is_multiple_of(length) && text.is_char_boundary(length))
        .map(|length| &text[..length])
        .find(|unit| unit.repeat(text.len() / unit.len()) == text)
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(given: &str) -> Result<(), &'static str> {
        let owner = EmailAddress::parse("ada.lovelace@example.com").unwrap();
        Password::chosen(given.to_owned(), Some(&owner)).map(drop).map_err(|broken| broken.rule)
    }

    #[test]
    fn long_and_unusual_passwords_are_taken() {
        for given in ["correct horse battery", "열두 글자 이상의 비밀번호", "Tr0ub4dor&3x9", "k4#Zp0!vQm"]
        {
            assert_eq!(rule(given), Ok(()), "{given}");
        }
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert_eq!(rule("short"), Err("min-length"));
        assert_eq!(rule(&"ab3".repeat(50)), Err("max-length"));
    }

    #[test]
    fn common_passwords_are_refused_in_their_disguises() {
        for given in [
            "1234567890",
            "0987654321",
            "password123",
            "Password2024!",
            "P@ssw0rd1234",
            "qwertyuiop",
            "iloveyou!!!!",
            "aaaaaaaaaaaa",
            "abcabcabcabc",
            "letmeinletmein",
            "1q2w3e4r5t6y",
            "ada.lovelace1815",
            "ADA.lovelace@example.com",
        ] {
            assert_eq!(rule(given), Err("common-password"), "{given}");
        }
    }

    #[test]
    fn debug_does_not_show_a_password() {
        assert!(!format!("{:?}", Password::given("hunter2".into()).unwrap()).contains("hunter2"));
    }
}
