//! E-mail addresses, in the one spelling that is stored and compared.

use std::fmt;
use std::str::FromStr;

use super::RuleBroken;

/// RFC 5321 limits a path to 256 octets, including its angle brackets.
pub(crate) const MAX_LENGTH: usize = 254;

/// An address that a mail can be sent to: ASCII, lower case, its domain as DNS knows it (`xn--…`).
///
/// RFC 5321 lets mailbox names differ by case. No important provider does that, and two accounts that differ
/// only by case are a trap for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EmailAddress(String);

impl EmailAddress {
    /// Reads what somebody typed. Spaces that a keyboard adds are dropped; an internationalized domain and
    /// its `xn--` spelling are the same.
    pub(crate) fn parse(typed: &str) -> Result<Self, RuleBroken> {
        let too_long = || RuleBroken::new("max-length", format!("must be at most {MAX_LENGTH} characters"));
        let wrong = || RuleBroken::new("email", "must be an e-mail address such as name@example.com");
        let typed = typed.trim();
        if typed.chars().count() > MAX_LENGTH {
            return Err(too_long());
        }
        let (mailbox, domain) = typed.rsplit_once('@').ok_or_else(wrong)?;
        if !mailbox.is_ascii() {
            // Most servers do not accept mail to such names (RFC 6531).
            return Err(RuleBroken::new("email", "must have only ASCII characters before the @"));
        }
        let domain = idna::domain_to_ascii(domain).map_err(|_| wrong())?;
        if !is_public(&domain) {
            return Err(RuleBroken::new("email", "must end with a domain such as example.com"));
        }
        let spelled = format!("{}@{domain}", mailbox.to_ascii_lowercase());
        if spelled.len() > MAX_LENGTH {
            return Err(too_long());
        }
        // If lettre can parse it, lettre can send to it. Quoted names are legal, but nobody has one.
        let address = lettre::Address::from_str(&spelled).map_err(|_| wrong())?;
        if address.user().starts_with('"') {
            return Err(wrong());
        }
        Ok(Self(spelled))
    }

    /// An address that was parsed when it was stored, perhaps by the rules of an earlier release.
    pub(crate) fn stored(address: String) -> Self {
        Self(address)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the `@`.
    pub(crate) fn mailbox(&self) -> &str {
        self.0.rsplit_once('@').map_or(&self.0, |(mailbox, _)| mailbox)
    }
}

/// Whether a domain can exist on the public Internet: a name with a dot in it, neither an IP address
/// (`127.0.0.1`, `[::1]`) nor a local machine (`localhost`).
fn is_public(domain: &str) -> bool {
    let is_label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (1..=63).contains(&label.len()) && plain
    };
    let named = |(_, top): (&str, &str)| top.bytes().any(|byte| byte.is_ascii_alphabetic());
    domain.split('.').all(is_label) && domain.rsplit_once('.').is_some_and(named)
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(typed: &str) -> Result<String, &'static str> {
        EmailAddress::parse(typed).map(|address| address.to_string()).map_err(|broken| broken.rule)
    }

    #[test]
    fn addresses_that_differ_by_case_are_one() {
        assert_eq!(EmailAddress::parse("Ada@Example.COM"), EmailAddress::parse("ada@example.com"));
    }

    #[test]
    fn the_space_around_an_address_is_not_part_of_it_m7() {
        for typed in [
            "mina@example.com ",
            " mina@example.com",
            "\tmina@example.com\n",
            "\u{3000}mina@example.com\u{a0}",
        ] {
            assert_eq!(spelled(typed).as_deref(), Ok("mina@example.com"), "{typed:?}");
        }
    }

    #[test]
    fn both_spellings_of_an_internationalized_domain_are_one_m7() {
        for (typed, stored) in [
            ("mina@bücher.example", "mina@xn--bcher-kva.example"),
            ("mina@BÜCHER.example", "mina@xn--bcher-kva.example"),
            ("mina@bu\u{308}cher.example", "mina@xn--bcher-kva.example"),
            ("mina@XN--bcher-kva.example", "mina@xn--bcher-kva.example"),
            ("mina@도메인.한국", "mina@xn--hq1bm8jm9l.xn--3e0b707e"),
            ("mina@도메인。한국", "mina@xn--hq1bm8jm9l.xn--3e0b707e"),
            ("mina@ｅｘａｍｐｌｅ.com", "mina@example.com"),
        ] {
            assert_eq!(spelled(typed).as_deref(), Ok(stored), "{typed}");
        }
    }

    #[test]
    fn a_domain_that_is_nobodys_on_the_internet_is_refused_m7() {
        for typed in
            ["a@localhost", "a@127.0.0.1", "a@[127.0.0.1]", "a@[::1]", "a@com.", "a@.com", "a@example.1"]
        {
            assert_eq!(spelled(typed), Err("email"), "{typed}");
        }
    }

    #[test]
    fn what_a_mail_cannot_be_sent_to_is_refused() {
        for given in [
            "",
            "ada",
            "ada@",
            "@example.com",
            "a b@example.com",
            "ada@exa mple.com",
            "ada@example.com\r\nBcc: all@example.com",
            "\"a\"@example.com",
            "ada@example..com",
            "adä@example.com",
            "ada@xn--a.com",
            "ada@exam\0ple.com",
            "ada@under_score.com",
        ] {
            assert_eq!(spelled(given), Err("email"), "{given}");
        }
        for long in [format!("ada@{}.com", "a".repeat(250)), format!("ada@{}com", "ü.".repeat(100))] {
            assert_eq!(spelled(&long), Err("max-length"));
        }
        assert_eq!(spelled(&format!("ada@{}.com", "a".repeat(64))), Err("email"));
    }

    #[test]
    fn tags_and_dots_are_kept() {
        let address = EmailAddress::parse("ada.l+shop@mail.example.com").unwrap();
        assert_eq!((address.as_str(), address.mailbox()), ("ada.l+shop@mail.example.com", "ada.l+shop"));
    }
}
