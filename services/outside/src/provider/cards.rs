//! From a card number to the token that replaces it. The number goes no further than this.

use super::callbacks::keyed_digest;

/// The number of a card that the bank refuses.
const DECLINED_CARD: &str = "4000000000000002";

/// The token of a card, the same each time; `None` if this is not a card number. Spaces and hyphens between
/// digits are allowed.
pub(super) fn token(secret: &str, card_number: &str) -> Option<String> {
    let number: String = card_number.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    if !is_card_number(&number) {
        return None;
    }
    let declined = if number == DECLINED_CARD { "declined_" } else { "" };
    let digest = hex::encode(keyed_digest(secret, number.as_bytes()));
    Some(format!("tok_{declined}{}", &digest[..32]))
}

/// Checks the length and the Luhn check digit.
fn is_card_number(number: &str) -> bool {
    if !(12..=19).contains(&number.len()) || !number.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let sum: u32 = number
        .bytes()
        .rev()
        .map(|b| u32::from(b - b'0'))
        .enumerate()
        .map(|(place, digit)| match digit * 2 {
            _ if place % 2 == 0 => digit,
            doubled @ 0..=9 => doubled,
            doubled => doubled - 9,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::is_card_number;

    #[test]
    fn a_card_number_has_a_valid_check_digit() {
        for good in ["4242424242424242", "4000000000000002", "378282246310005"] {
            assert!(is_card_number(good), "{good}");
        }
        for bad in ["4242424242424241", "42424242", "4242x24242424242", ""] {
            assert!(!is_card_number(bad), "{bad}");
        }
    }
}
