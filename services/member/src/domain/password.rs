//! Which passwords are accepted: those that are long enough and not among the first guesses.
//!
//! There are no composition rules ("one digit, one capital") on purpose: NIST SP 800-63B found that they make
//! passwords worse. zxcvbn estimates how soon a password is guessed. It knows common passwords, words and
//! names, keyboard patterns, dates, and how people disguise them.

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;
use zxcvbn::{Score, zxcvbn};

use super::RuleBroken;
use super::email::EmailAddress;

/// In characters.
pub(crate) const MIN_LENGTH: usize = 10;
/// In characters; limits the work of one hash.
pub(crate) const MAX_LENGTH: usize = 128;
/// How much of a password is judged. Nobody guesses far beyond that, and the judge's work grows faster than
/// the length of what it looks at.
const JUDGED: usize = 40;

/// A password as somebody typed it. `Debug` does not show it.
#[derive(Clone)]
pub(crate) struct Password {
    /// In NFC, so that it does not matter how a keyboard composes its characters.
    normal: String,
    /// As it was typed, if that differs: earlier releases hashed it that way.
    typed: Option<String>,
}

impl Password {
    /// For checking against a hash; accepts anything short enough to hash.
    pub(crate) fn given(given: String) -> Result<Self, RuleBroken> {
        let normal: String = given.nfc().collect();
        let short = |text: &str| text.chars().count() <= MAX_LENGTH;
        let typed = Some(given).filter(|typed| *typed != normal && short(typed));
        if !short(&normal) && typed.is_none() {
            return Err(RuleBroken::new("max-length", format!("must be at most {MAX_LENGTH} characters")));
        }
        Ok(Self { normal, typed })
    }

    /// For a new password, which must obey the rules. `owner` is unknown if a link stands for the member.
    pub(crate) fn chosen(given: String, owner: Option<&EmailAddress>) -> Result<Self, RuleBroken> {
        let password = Self::given(given)?;
        let length = password.normal.chars().count();
        if length > MAX_LENGTH {
            return Err(RuleBroken::new("max-length", format!("must be at most {MAX_LENGTH} characters")));
        }
        if length < MIN_LENGTH {
            return Err(RuleBroken::new("min-length", format!("must be at least {MIN_LENGTH} characters")));
        }
        if !is_hard_to_guess(&password.normal, owner) {
            return Err(RuleBroken::new("common-password", "is among the passwords that are guessed first"));
        }
        Ok(password)
    }

    /// What to hash.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.normal.as_bytes()
    }

    /// What may have been hashed, the likelier first.
    pub(crate) fn spellings(&self) -> impl Iterator<Item = &[u8]> {
        [Some(&self.normal), self.typed.as_ref()].into_iter().flatten().map(String::as_bytes)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Whether it takes more than 10^8 guesses by somebody who knows what people choose and whose password it is.
/// zxcvbn calls that strong enough against online guessing.
fn is_hard_to_guess(password: &str, owner: Option<&EmailAddress>) -> bool {
    let mut known = vec!["rocketmart", "rocket", "mart"];
    if let Some(owner) = owner {
        known.extend([owner.as_str(), owner.mailbox()]);
        known.extend(owner.mailbox().split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 2));
    }
    let judged: String = password.chars().take(JUDGED).collect();
    zxcvbn(&judged, &known).score() >= Score::Three
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
    fn numbers_and_dates_that_nobody_else_chooses_are_taken_m9() {
        for given in [
            "84720193847a",
            "x7#291-55820",
            "2026-09-14-ab!",
            "8472-0193-8471",
            "+82 2-120-7716",
            "07:45 at gate B12",
            "zebra-42-orbit",
            "비밀번호는 열 글자",
            "пароль из трёх слов",
        ] {
            assert_eq!(rule(given), Ok(()), "{given}");
        }
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert_eq!(rule("short"), Err("min-length"));
        assert_eq!(rule(&"ab3".repeat(50)), Err("max-length"));
    }

    #[test]
    fn a_character_is_one_however_it_is_composed_m8() {
        // Four syllables, but eleven letters when decomposed.
        let decomposed: String = "한글암호".nfd().collect();
        assert!(decomposed.chars().count() > MIN_LENGTH);
        assert_eq!(rule(&decomposed), Err("min-length"));
        let long: String = "é".repeat(MAX_LENGTH).nfd().collect();
        assert_ne!(rule(&long), Err("max-length"));
        assert_eq!(rule(&"é".repeat(MAX_LENGTH + 1).nfd().collect::<String>()), Err("max-length"));
        let as_typed = Password::given("cafe\u{301}".to_owned()).unwrap();
        let spellings: Vec<_> = as_typed.spellings().collect();
        assert_eq!(spellings, ["caf\u{e9}".as_bytes(), "cafe\u{301}".as_bytes()]);
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
            "password1!",
            "qwerty12345",
            "iloveyou123",
            "iloveyou2024",
            "baseball2019",
            "1qaz2wsx3edc",
            "superman123!",
            "Rocketmart1!",
            "lovelace123",
        ] {
            assert_eq!(rule(given), Err("common-password"), "{given}");
        }
    }

    #[test]
    fn a_long_password_is_judged_by_its_beginning() {
        assert_eq!(rule(&"letmein".repeat(18)), Err("common-password"));
        assert_eq!(rule(&"4@({[<1!|".repeat(14)), Ok(()));
    }

    #[test]
    fn debug_does_not_show_a_password() {
        assert!(!format!("{:?}", Password::given("hunter2".into()).unwrap()).contains("hunter2"));
    }
}
