//! Checks what the provider writes as it is read, in answers and in call-backs alike.
//!
//! Its ids go into URLs, its texts into the database and into events. So all of them are bounded, and one
//! that breaks a rule makes its message unreadable: a call-back is then refused, and an answer means that the
//! outcome is unknown. Only text for people, a reason or a message, is cut to fit instead: an outcome must
//! not be lost over its wording.

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer};

const LONGEST_ID: usize = 128;
const LONGEST_CODE: usize = 64;
const LONGEST_MESSAGE: usize = 300;
/// The largest number that JSON carries exactly between all languages.
const MOST_MONEY: i64 = (1 << 53) - 1;

/// An id: letters, digits and `_ - . :`, so that it is safe in a URL and as a key.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':'))
        // Dots alone would be a step in a path.
        && text.bytes().any(|b| b != b'.')
}

pub(super) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if is_id(&text) {
        return Ok(text);
    }
    let expected = "an id of 1 to 128 letters, digits, _, -, . and :";
    Err(D::Error::invalid_value(Unexpected::Other("a text that is no id"), &expected))
}

/// The reference that we gave the provider to find something again.
pub(super) fn reference<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Ok(text);
    }
    let expected = "a reference of 1 to 128 ASCII characters";
    Err(D::Error::invalid_value(Unexpected::Other("a text that is no reference"), &expected))
}

pub(super) fn currency<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase()) {
        return Ok(text);
    }
    Err(D::Error::invalid_value(Unexpected::Other("a text that is no currency"), &"an ISO 4217 code"))
}

/// Minor units.
pub(super) fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let amount = i64::deserialize(deserializer)?;
    if (0..=MOST_MONEY).contains(&amount) {
        return Ok(amount);
    }
    Err(D::Error::invalid_value(Unexpected::Signed(amount), &"an amount from 0 to 2^53 - 1"))
}

/// Why the provider decided as it did; left out if it is not a code.
pub(super) fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| is_code(text)))
}

pub(super) fn is_code(text: &str) -> bool {
    (1..=LONGEST_CODE).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// A message for whoever looks into it: one line of bounded length.
pub(crate) fn message(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::provider::Charge;

    fn charge(field: &str, value: Value) -> serde_json::Result<Charge> {
        let mut charge = json!({
            "id": "ch_1", "reference": "order-1", "status": "declined", "reason": "card_declined",
            "amount": 5, "currency": "KRW", "created_at": "2026-01-01T00:00:00Z",
        });
        charge[field] = value;
        serde_json::from_value(charge)
    }

    #[test]
    fn p8_what_the_provider_writes_is_bounded_and_checked() {
        assert!(charge("id", json!("ch_0:a.b-c")).is_ok());
        let refused = [
            ("id", json!("")),
            ("id", json!("ch_\u{0}")),
            ("id", json!("x".repeat(129))),
            ("id", json!("../../v1/tokens")),
            ("id", json!("..")),
            ("reference", json!("order\u{0}")),
            ("reference", json!("x".repeat(129))),
            ("currency", json!("won")),
            ("amount", json!(-1)),
            ("amount", json!(i64::MAX)),
        ];
        for (field, value) in refused {
            assert!(charge(field, value.clone()).is_err(), "{field} {value}");
        }
    }

    #[test]
    fn an_outcome_is_not_lost_over_its_wording() {
        for odd in [json!("\u{0}"), json!("x".repeat(65)), json!("Sorry, no!")] {
            assert_eq!(charge("reason", odd).unwrap().reason, None);
        }
        assert_eq!(super::message("a\u{0}b\nc"), "a b c");
        assert_eq!(super::message(&"é".repeat(1_000)).chars().count(), 300);
    }
}
