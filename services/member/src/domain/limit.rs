//! How often something may be tried, per e-mail address and per network address.
//!
//! Every attempt counts before anything is looked up, whether or not the e-mail is known, so that a
//! refusal says nothing about who is a member.

use std::net::IpAddr;
use std::time::Duration;

use rocketmart_kit::client_address::network;

use super::email::EmailAddress;
use super::secret;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// At most `allowed` attempts by `subject` within `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) scope: &'static str,
    /// SHA-256 of what is limited.
    pub(crate) subject: [u8; 32],
    pub(crate) allowed: u32,
    pub(crate) window: Duration,
}

impl Limit {
    fn new(scope: &'static str, subject: &str, allowed: u32, window: Duration) -> Self {
        Self { scope, subject: secret::hash(subject), allowed, window }
    }
}

/// The limits of this deployment. Limits of one e-mail address are fixed; how many people share a
/// network address differs from place to place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Attempts of one kind per hour; 0: unlimited.
    pub(crate) per_address: u32,
}

impl Limits {
    /// Both mails that a stranger can make us send count alike: nobody's mailbox is flooded.
    pub(crate) fn sign_up(self, email: &EmailAddress, address: Option<IpAddr>) -> Vec<Limit> {
        let mine = Limit::new("sign-up/email", email.as_str(), 5, HOUR);
        self.with_address(vec![mine], "sign-up/address", address)
    }

    pub(crate) fn password_reset(self, email: &EmailAddress, address: Option<IpAddr>) -> Vec<Limit> {
        let mine = Limit::new("reset/email", email.as_str(), 3, HOUR);
        self.with_address(vec![mine], "reset/address", address)
    }

    /// Failed log-ins. Tight for one e-mail from one place; wider for one e-mail from anywhere, so
    /// that a stranger cannot easily lock its owner out.
    pub(crate) fn log_in(self, email: &EmailAddress, address: Option<IpAddr>) -> Vec<Limit> {
        let from = address.map(|address| network(address).to_string()).unwrap_or_default();
        let mine = vec![
            Limit::new("log-in/both", &format!("{email} {from}"), 10, 15 * MINUTE),
            Limit::new("log-in/email", email.as_str(), 100, HOUR),
        ];
        self.with_address(mine, "log-in/address", address)
    }

    fn with_address(
        self,
        mut limits: Vec<Limit>,
        scope: &'static str,
        address: Option<IpAddr>,
    ) -> Vec<Limit> {
        if let Some(address) = address
            && self.per_address > 0
        {
            limits.push(Limit::new(scope, &network(address).to_string(), self.per_address, HOUR));
        }
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email() -> EmailAddress {
        EmailAddress::parse("ada@example.com").unwrap()
    }

    fn reset(per_address: u32, address: &str) -> Vec<Limit> {
        Limits { per_address }.password_reset(&email(), Some(address.parse().unwrap()))
    }

    #[test]
    fn neighbours_in_an_ipv6_network_share_a_limit() {
        assert_eq!(reset(9, "2001:db8::1"), reset(9, "2001:db8::2"));
        assert_ne!(reset(9, "2001:db8::1"), reset(9, "2001:db8:0:1::1"));
        assert_eq!(reset(9, "::ffff:10.0.0.1"), reset(9, "10.0.0.1"));
    }

    #[test]
    fn zero_lifts_the_limit_of_addresses_only() {
        let scopes: Vec<_> = reset(0, "10.0.0.1").iter().map(|limit| limit.scope).collect();
        assert_eq!(scopes, ["reset/email"]);
    }
}
