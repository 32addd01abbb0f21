//! Phone numbers as people write them, stored as carriers read them.

use phonenumber::Mode;
use phonenumber::country::Id;
use unicode_normalization::UnicodeNormalization as _;

/// The rule in words.
pub(super) const RULE: &str =
    "must be a phone number, with the country code or as it is written in the address' country";

const LONGEST: usize = 64;
/// Digits of country code and number together. E.164 allows 15 at most; short numbers of small networks have
/// few.
const DIGITS: std::ops::RangeInclusive<usize> = 5..=15;

/// The number as E.164, with `;ext=` and its extension if it has one (RFC 3966). A number without a country
/// code belongs to `country` (ISO 3166-1 alpha-2). `None` if it is not a number.
pub(super) fn normalized(written: &str, country: &str) -> Option<String> {
    if written.chars().count() > LONGEST {
        return None;
    }
    // Full-width digits are digits. Between digits there may be hyphens and dashes of all kinds.
    let plain: String = written.nfkc().map(|c| if is_dash(c) { '-' } else { c }).collect();
    let (plain, kept_extension) = match plain.split_once(";ext=") {
        Some((number, extension)) if is_extension(extension) => (number, Some(extension)),
        _ => (plain.as_str(), None),
    };
    let number = phonenumber::parse(country.parse::<Id>().ok(), plain.trim()).ok()?;
    let e164 = number.format().mode(Mode::E164).to_string();
    let digits = e164.chars().filter(char::is_ascii_digit).count();
    let is_plain = e164.strip_prefix('+').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
    let extension = kept_extension.map(str::to_owned).or_else(|| number.extension().map(ToString::to_string));
    let extension = extension.map(|extension| format!(";ext={extension}")).unwrap_or_default();
    (is_plain && DIGITS.contains(&digits)).then_some(e164 + &extension)
}

fn is_extension(text: &str) -> bool {
    (1..=7).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_dash(c: char) -> bool {
    matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{30fc}')
}

#[cfg(test)]
mod tests {
    use super::normalized;

    #[test]
    fn m11_numbers_are_understood_as_people_write_them() {
        let korean = |written: &str| normalized(written, "KR");
        for written in [
            "+82 2-120-0000",
            "02.120.0000",
            "02-120-0000",
            "(02) 120 0000",
            "０２－１２０－００００",
            "02\u{2011}120\u{2011}0000",
            "02\u{2013}120\u{2013}0000",
            " 02 120 0000 ",
        ] {
            assert_eq!(korean(written).as_deref(), Some("+8221200000"), "{written}");
        }
        for written in ["+82 2-120-0000 ext. 12", "02-120-0000 x12", "+82-2-120-0000;ext=12"] {
            assert_eq!(korean(written).as_deref(), Some("+8221200000;ext=12"), "{written}");
        }
        assert_eq!(korean("+1 (415) 555-0132").as_deref(), Some("+14155550132"), "another country's");
        assert_eq!(normalized("+8221200000;ext=12", "US").as_deref(), Some("+8221200000;ext=12"), "as kept");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let long = "1".repeat(65);
        for written in ["", "call me", "12", "+", "+82", "12345678901234567890", "0\u{0}2-120-0000", &long] {
            assert_eq!(normalized(written, "KR"), None, "{written:?}");
        }
        // Without a country the number has to have a country code.
        assert_eq!(normalized("02-120-0000", "XX"), None);
    }
}
