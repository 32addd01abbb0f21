//! A postal address, checked.
//!
//! Rules are the ones that hold everywhere: lengths, a known country, a postal code of sane
//! characters. What a street looks like differs too much between countries to be judged here.

use thiserror::Error;

use super::country;

/// A member keeps at most this many.
pub const MOST_PER_MEMBER: i64 = 50;

/// An address as somebody typed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    pub recipient: String,
    pub line1: String,
    pub line2: Option<String>,
    pub city: String,
    pub region: Option<String>,
    pub postal_code: String,
    pub country: String,
    pub phone: Option<String>,
}

/// A field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} {detail}")]
pub struct AddressError {
    pub field: &'static str,
    pub rule: &'static str,
    pub detail: String,
}

/// An address that keeps every rule, with surrounding white space removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Draft);

impl Address {
    /// Every field that breaks a rule, or the address.
    pub fn new(draft: Draft) -> Result<Self, Vec<AddressError>> {
        let mut errors = Vec::new();
        let draft = Draft {
            recipient: text("recipient", &draft.recipient, 100, &mut errors),
            line1: text("line1", &draft.line1, 200, &mut errors),
            line2: draft.line2.map(|line| text("line2", &line, 200, &mut errors)),
            city: text("city", &draft.city, 100, &mut errors),
            region: draft.region.map(|region| text("region", &region, 100, &mut errors)),
            postal_code: text("postal_code", &draft.postal_code, 16, &mut errors),
            country: draft.country,
            phone: draft.phone.map(|phone| text("phone", &phone, 32, &mut errors)),
        };
        let mut refuse = |field, rule, detail: &str| {
            errors.push(AddressError { field, rule, detail: detail.to_owned() });
        };
        if !draft.postal_code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-')) {
            refuse("postal_code", "postal-code", "must consist of letters, digits, spaces and hyphens");
        }
        if !country::is_code(&draft.country) {
            refuse("country", "country-code", "must be an ISO 3166-1 alpha-2 code, such as KR");
        }
        if draft.phone.as_deref().is_some_and(|phone| !is_phone_number(phone)) {
            refuse("phone", "phone-number", "must be 5 to 15 digits, with +, spaces, hyphens and brackets");
        }
        if errors.is_empty() { Ok(Self(draft)) } else { Err(errors) }
    }

    pub fn as_draft(&self) -> &Draft {
        &self.0
    }
}

/// Trims; refuses empty or over-long text and control characters.
fn text(field: &'static str, value: &str, longest: usize, errors: &mut Vec<AddressError>) -> String {
    let value = value.trim();
    if value.is_empty() || value.chars().count() > longest {
        let detail = format!("must have 1 to {longest} characters");
        errors.push(AddressError { field, rule: "length", detail });
    }
    if value.chars().any(char::is_control) {
        let detail = "must not contain line breaks or other control characters".to_owned();
        errors.push(AddressError { field, rule: "no-control-characters", detail });
    }
    value.to_owned()
}

fn is_phone_number(phone: &str) -> bool {
    let rest = phone.strip_prefix('+').unwrap_or(phone);
    let digits = rest.chars().filter(char::is_ascii_digit).count();
    (5..=15).contains(&digits)
        && rest.chars().all(|c| c.is_ascii_digit() || matches!(c, ' ' | '-' | '(' | ')'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seoul() -> Draft {
        Draft {
            recipient: "홍길동".into(),
            line1: "세종대로 110".into(),
            city: "서울".into(),
            postal_code: "04524".into(),
            country: "KR".into(),
            phone: Some("+82 2-120-0000".into()),
            ..Draft::default()
        }
    }

    #[test]
    fn an_address_in_any_script_passes_and_is_trimmed() {
        let address = Address::new(Draft { city: " 서울 ".into(), ..seoul() }).unwrap();
        assert_eq!(address.as_draft(), &seoul());
    }

    #[test]
    fn each_broken_rule_names_its_field() {
        type Change = fn(&mut Draft);
        let table: [(Change, &str, &str); 10] = [
            (|d| d.recipient.clear(), "recipient", "length"),
            (|d| d.recipient = "x".repeat(101), "recipient", "length"),
            (|d| d.line1 = "a\nb".into(), "line1", "no-control-characters"),
            (|d| d.line2 = Some(" ".into()), "line2", "length"),
            (|d| d.city = String::new(), "city", "length"),
            (|d| d.region = Some("x".repeat(101)), "region", "length"),
            (|d| d.postal_code = "04524;".into(), "postal_code", "postal-code"),
            (|d| d.country = "Korea".into(), "country", "country-code"),
            (|d| d.country = "XX".into(), "country", "country-code"),
            (|d| d.phone = Some("call me".into()), "phone", "phone-number"),
        ];
        for (change, field, rule) in table {
            let mut draft = seoul();
            change(&mut draft);
            let errors = Address::new(draft).unwrap_err();
            assert_eq!(errors.iter().map(|e| (e.field, e.rule)).collect::<Vec<_>>(), [(field, rule)]);
        }
    }
}
