//! A postal address, checked.
//!
//! Texts obey the rule for all texts that people write. What an address consists of differs between
//! countries: [`country`] knows which ones have a postal code, and which ones a city. What a street looks
//! like differs too much to check here. A phone number is stored as E.164 ([`phone`](super::phone)).

use rocketmart_kit::problem::FieldError;
use rocketmart_kit::text::Text;
use rocketmart_kit::validation::Violations;

use super::{country, phone};

/// A member keeps at most this many.
pub const MOST_PER_MEMBER: i64 = 50;

const RECIPIENT: Text = Text::line(100);
const LINE: Text = Text::line(200);
const CITY: Text = Text::line(100);
const REGION: Text = Text::line(100);
const POSTAL_CODE: Text = Text::line(16);

/// An address as somebody typed it, or as it is stored. An empty field is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    pub recipient: String,
    pub line1: String,
    pub line2: Option<String>,
    pub city: Option<String>,
    pub region: Option<String>,
    pub postal_code: Option<String>,
    pub country: String,
    pub phone: Option<String>,
}

/// An address that obeys every rule, normalized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Draft);

impl Address {
    /// The address, or every field that breaks a rule.
    pub fn new(draft: Draft) -> Result<Self, Violations> {
        let mut broken = Violations::default();
        let mut optional =
            |field, rule, written: &Option<String>| broken.optional_text(field, rule, written.as_deref());
        let line2 = optional("line2", LINE, &draft.line2);
        let city = optional("city", CITY, &draft.city);
        let region = optional("region", REGION, &draft.region);
        let postal_code = optional("postal_code", POSTAL_CODE, &draft.postal_code);
        let kept = Draft {
            recipient: broken.text("recipient", RECIPIENT, &draft.recipient),
            line1: broken.text("line1", LINE, &draft.line1),
            line2,
            city,
            region,
            postal_code,
            country: draft.country,
            phone: None,
        };
        let is_code = |code: &str| code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-'));
        if !kept.postal_code.as_deref().is_none_or(is_code) {
            broken.rule("postal_code", "postal-code", "must consist of letters, digits, spaces and hyphens");
        }
        let phone = draft.phone.filter(|written| !written.trim().is_empty());
        let phone = phone.and_then(|written| {
            let number = phone::normalized(&written, &kept.country);
            if number.is_none() {
                broken.rule("phone", "phone-number", phone::RULE);
            }
            number
        });
        if country::is_code(&kept.country) {
            // If the text broke a rule of its own, it is reported already.
            let is_left_out =
                |written: &Option<String>| written.as_deref().is_none_or(|it| it.trim().is_empty());
            let mut require = |field, needed, written| {
                if needed && is_left_out(written) {
                    let detail = format!("an address in {} has one", kept.country);
                    broken.add(FieldError::new(field, "required", detail));
                }
            };
            require("city", country::has_cities(&kept.country), &draft.city);
            require("postal_code", country::needs_postal_code(&kept.country), &draft.postal_code);
        } else {
            broken.rule("country", "country-code", "must be an ISO 3166-1 alpha-2 code, such as KR");
        }
        if broken.is_empty() { Ok(Self(Draft { phone, ..kept })) } else { Err(broken) }
    }

    pub fn as_draft(&self) -> &Draft {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use rocketmart_kit::problem::Problem;

    use super::*;

    fn seoul() -> Draft {
        Draft {
            recipient: "홍길동".into(),
            line1: "세종대로 110".into(),
            city: Some("서울".into()),
            postal_code: Some("04524".into()),
            country: "KR".into(),
            phone: Some("+8221200000".into()),
            ..Draft::default()
        }
    }

    fn broken(draft: Draft) -> Vec<(String, String)> {
        let problem: Problem = Address::new(draft).unwrap_err().finish().unwrap_err();
        problem.errors.into_iter().map(|error| (error.field, error.rule)).collect()
    }

    #[test]
    fn an_address_in_any_script_passes_and_is_trimmed() {
        let address = Address::new(Draft { city: Some(" 서울 ".into()), ..seoul() }).unwrap();
        assert_eq!(address.as_draft(), &seoul());
    }

    #[test]
    fn each_broken_rule_names_its_field() {
        type Change = fn(&mut Draft);
        let table: [(Change, &str, &str); 12] = [
            (|d| d.recipient.clear(), "recipient", "min-length"),
            (|d| d.recipient = "x".repeat(101), "recipient", "max-length"),
            (|d| d.recipient = "\u{2800}".into(), "recipient", "visible"),
            (|d| d.line1 = "a\nb".into(), "line1", "no-control-characters"),
            (|d| d.line2 = Some("\u{202e}a".into()), "line2", "no-bidi-controls"),
            (|d| d.city = None, "city", "required"),
            (|d| d.region = Some("x".repeat(101)), "region", "max-length"),
            (|d| d.postal_code = Some("04524;".into()), "postal_code", "postal-code"),
            (|d| d.postal_code = Some(" ".into()), "postal_code", "required"),
            (|d| d.country = "Korea".into(), "country", "country-code"),
            (|d| d.country = "XX".into(), "country", "country-code"),
            (|d| d.phone = Some("call me".into()), "phone", "phone-number"),
        ];
        for (change, field, rule) in table {
            let mut draft = seoul();
            change(&mut draft);
            assert_eq!(broken(draft), [(field.to_owned(), rule.to_owned())]);
        }
    }

    #[test]
    fn m11_what_is_empty_is_absent() {
        let empty = Some(String::new());
        let draft = Draft { line2: empty.clone(), region: empty.clone(), phone: empty, ..seoul() };
        let address = Address::new(draft).unwrap();
        assert_eq!(address.as_draft(), &Draft { phone: None, ..seoul() });
    }

    #[test]
    fn m11_a_country_is_asked_for_what_its_addresses_have() {
        let of = |country: &str, city: Option<&str>, postal_code: Option<&str>| Draft {
            country: country.into(),
            city: city.map(Into::into),
            postal_code: postal_code.map(Into::into),
            phone: None,
            ..seoul()
        };
        for good in [
            of("HK", None, None),
            of("HK", Some("Kowloon"), Some("")),
            of("AE", Some("Dubai"), None),
            of("IE", Some("Dublin"), None),
            of("IE", Some("Dublin"), Some("D02 AF30")),
            of("SG", None, Some("018956")),
            of("PA", Some("Panamá"), None),
            of("DE", Some("Berlin"), Some("10557")),
        ] {
            assert!(Address::new(good.clone()).is_ok(), "{good:?}");
        }
        for (draft, field) in [
            (of("SG", None, None), "postal_code"),
            (of("DE", Some("Berlin"), None), "postal_code"),
            (of("US", None, Some("10001")), "city"),
            (of("IE", None, None), "city"),
        ] {
            assert_eq!(broken(draft), [(field.to_owned(), "required".to_owned())]);
        }
    }
}
