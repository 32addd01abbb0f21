//! E-mail addresses, in the one spelling they are stored and compared in.

use std::fmt;
use std::str::FromStr;

use super::RuleBroken;

/// RFC 5321 bounds a path to 256 octets, angle brackets included.
pub(crate) const MAX_LENGTH: usize = 254;

/// An address a mail can be sent to: ASCII, lower case.
///
/// RFC 5321 lets mailbox names differ by case; no provider of consequence does, and two accounts
/// that differ only by case are a trap for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EmailAddress(String);

impl EmailAddress {
    pub(crate) fn parse(given: &str) -> Result<Self, RuleBroken> {
        if given.len() > MAX_LENGTH {
            return Err(RuleBroken::new("max-length", format!("must be at most {MAX_LENGTH} characters")));
        }
        let wrong = || RuleBroken::new("email", "must be an e-mail address such as name@example.com");
        if !given.is_ascii() {
            return Err(wrong());
        }
        // What lettre parses is what it can send to; quoted names and address literals are legal
        // but nobody's address.
        let address = lettre::Address::from_str(given).map_err(|_| wrong())?;
        let dotted = address.domain().split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        });
        if address.user().starts_with('"') || !dotted {
            return Err(wrong());
        }
        Ok(Self(given.to_ascii_lowercase()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the `@`.
    pub(crate) fn mailbox(&self) -> &str {
        self.0.rsplit_once('@').map_or(&self.0, |(mailbox, _)| mailbox)
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_differ_by_case_are_one() {
        assert_eq!(EmailAddress::parse("Ada@Example.COM"), EmailAddress::parse("ada@example.com"));
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
            "ada@[127.0.0.1]",
            "ada@example..com",
            "adä@example.com",
        ] {
            assert_eq!(EmailAddress::parse(given).map_err(|broken| broken.rule), Err("email"), "{given}");
        }
        let long = format!("ada@{}.com", "a".repeat(250));
        assert_eq!(EmailAddress::parse(&long).map_err(|broken| broken.rule), Err("max-length"));
    }

    #[test]
    fn tags_and_dots_are_kept() {
        let address = EmailAddress::parse("ada.l+shop@mail.example.com").unwrap();
        assert_eq!((address.as_str(), address.mailbox()), ("ada.l+shop@mail.example.com", "ada.l+shop"));
    }
}
