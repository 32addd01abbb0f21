//! How often something may be tried, per e-mail address and per network address.
//!
//! ```text
//! a password is tried from
//!   a device its member has logged in from ─▶ device         10 in 15 minutes
//!   anywhere else ─▶ this account from this address          10 in 15 minutes
//!                    this account from all such places      100 an hour
//!                    accounts tried in vain from this address, each once
//! ```
//!
//! An address that guesses locks out only itself. Other addresses, and known devices from anywhere, get in,
//! and a new password lifts everything (docs/adr/0029). A refused attempt does not count. Every other attempt
//! counts whether or not the e-mail is known, so that a refusal does not reveal who is a member.

use std::net::IpAddr;
use std::time::Duration;

use rocketmart_kit::client_address::network;
use uuid::Uuid;

use super::email::EmailAddress;
use super::secret;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Failed tries of one account from one place.
const OF_ONE_PLACE: &str = "log-in/both";
/// Accounts tried in vain from one address.
const OF_ONE_ADDRESS: &str = "log-in/address";
/// From this many times an address's limit on, even a correct password is not checked there. Below that,
/// people who share the address with somebody who guesses still get in.
const PATIENCE_WITH_ADDRESSES: u32 = 10;

/// At most `allowed` attempts by `subject` within `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) scope: &'static str,
    /// SHA-256 of what the limit applies to.
    pub(crate) subject: [u8; 32],
    /// SHA-256 of the e-mail address whose password is tried.
    pub(crate) account: Option<[u8; 32]>,
    pub(crate) allowed: u32,
    pub(crate) window: Duration,
}

impl Limit {
    fn new(scope: &'static str, subject: &str, allowed: u32, window: Duration) -> Self {
        Self { scope, subject: secret::hash(subject), account: None, allowed, window }
    }

    fn of(self, email: &EmailAddress) -> Self {
        Self { account: Some(account(email)), ..self }
    }

    /// Whether it counts accounts and not tries.
    pub(crate) fn counts_accounts(&self) -> bool {
        self.scope == OF_ONE_ADDRESS
    }

    /// Whether it counts the tries of one account from one place.
    pub(crate) fn is_of_one_place(&self) -> bool {
        self.scope == OF_ONE_PLACE
    }
}

/// The key that finds the attempts on an account.
pub(crate) fn account(email: &EmailAddress) -> [u8; 32] {
    secret::hash(email.as_str())
}

/// Who tries a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guesser {
    /// A device that its member has logged in from before, or a session of that member.
    Known(Uuid),
    /// Somebody at a network address, if that is known.
    Stranger(Option<IpAddr>),
}

/// The limits of this deployment. Limits per e-mail address are fixed. How many people share a network
/// address differs from place to place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Attempts of one kind per hour; 0 for unlimited.
    pub(crate) per_address: u32,
}

impl Limits {
    /// A stranger can make us send two kinds of mail. Both count alike, so that nobody's mailbox is flooded.
    pub(crate) fn sign_up(self, email: &EmailAddress, address: Option<IpAddr>) -> Vec<Limit> {
        let mine = Limit::new("sign-up/email", email.as_str(), 5, HOUR);
        self.with_address(vec![mine], "sign-up/address", address, 1)
    }

    pub(crate) fn password_reset(self, email: &EmailAddress, address: Option<IpAddr>) -> Vec<Limit> {
        let mine = Limit::new("reset/email", email.as_str(), 3, HOUR);
        self.with_address(vec![mine], "reset/address", address, 1)
    }

    /// The limits on wrong passwords.
    pub(crate) fn password(self, email: &EmailAddress, guesser: Guesser) -> Vec<Limit> {
        match guesser {
            Guesser::Known(device) => {
                vec![Limit::new("log-in/device", &format!("{email} {device}"), 10, 15 * MINUTE).of(email)]
            }
            Guesser::Stranger(address) => {
                let from = address.map(|address| network(address).to_string()).unwrap_or_default();
                let mine = vec![
                    Limit::new(OF_ONE_PLACE, &format!("{email} {from}"), 10, 15 * MINUTE).of(email),
                    Limit::new("log-in/email", email.as_str(), 100, HOUR).of(email),
                ];
                self.with_address(mine, OF_ONE_ADDRESS, address, PATIENCE_WITH_ADDRESSES)
            }
        }
    }

    fn with_address(
        self,
        mut limits: Vec<Limit>,
        scope: &'static str,
        address: Option<IpAddr>,
        times: u32,
    ) -> Vec<Limit> {
        if let Some(address) = address
            && self.per_address > 0
        {
            let allowed = self.per_address.saturating_mul(times);
            limits.push(Limit::new(scope, &network(address).to_string(), allowed, HOUR));
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
    fn a_known_device_shares_no_limit_with_strangers_m4() {
        let limits = Limits { per_address: 9 };
        let address = Some("10.0.0.1".parse().unwrap());
        let strangers = limits.password(&email(), Guesser::Stranger(address));
        let device = limits.password(&email(), Guesser::Known(Uuid::nil()));
        assert!(device.iter().all(|limit| strangers.iter().all(|other| other.scope != limit.scope)));
        let lifted = strangers.iter().chain(&device).filter(|limit| limit.account == Some(account(&email())));
        assert_eq!(lifted.count(), 3, "what is about the account is lifted with its password");
    }

    #[test]
    fn zero_lifts_the_limit_of_addresses_only() {
        let scopes: Vec<_> = reset(0, "10.0.0.1").iter().map(|limit| limit.scope).collect();
        assert_eq!(scopes, ["reset/email"]);
    }
}
